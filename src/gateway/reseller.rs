//! Components that call the reseller API.

use std::sync::Arc;

use super::components::Components;
use crate::audited::{AuditRecorder, AuditedRemotePc};
use crate::domain::{InvitationRule, ProvisioningMode, RetryPolicy};
use crate::http::{Idempotency, RemotePcParts, RemotePcSessionsState, RemotePcState, RemotePcUsersState};
use crate::provisioning::{self, Provisioner};
use crate::remotepc::{self, Client, SignInLinks, UserListCache};

/// Audited client of the reseller API, which all operations go through, and its cached user list.
pub(super) struct Reseller {
    remotepc: AuditedRemotePc,
    directory: Arc<UserListCache>,
}

impl Reseller {
    pub(super) fn new(components: &Components<'_>) -> anyhow::Result<Self> {
        let config = &components.config.remotepc;
        let context = components.context.clone();
        let client = Client::new(remotepc::Settings {
            base_url: config.base_url.clone(),
            api_key: config.api_key.clone(),
            timeout: config.timeout,
            max_in_flight: config.max_in_flight,
            proxy: config.proxy.clone(),
            ca_file: config.ca_file.clone(),
            resolver: Arc::clone(&components.resolver),
        })?;
        let directory = Arc::new(UserListCache::new(Arc::clone(&context.clock), config.list_cache));
        let trail = AuditRecorder(context.clone());
        Ok(Self { remotepc: AuditedRemotePc { client: Arc::new(client), trail, context }, directory })
    }

    /// Builds the provisioning rule, if it is configured.
    pub(super) async fn provisioner(
        &self,
        components: &Components<'_>,
    ) -> anyhow::Result<Option<Provisioner>> {
        let settings = &components.config.provisioning;
        if settings.mode == ProvisioningMode::Off {
            components.context.store.end_provisioning().await?;
            return Ok(None);
        }
        let parts = provisioning::Parts {
            remotepc: self.remotepc.clone(),
            directory: Arc::clone(&self.directory),
            rule: InvitationRule {
                dry_run: settings.mode == ProvisioningMode::DryRun,
                services: settings.services.clone(),
                computers: settings.computers,
            },
            policy: RetryPolicy::new(settings.schedule.clone()),
            timeout: components.config.remotepc.timeout,
        };
        Ok(Some(Provisioner::open(components.context.clone(), parts).await?))
    }

    pub(super) fn sessions(&self, components: &Components<'_>) -> RemotePcSessionsState {
        RemotePcSessionsState {
            context: components.context.clone(),
            remotepc: self.remotepc.clone(),
            sessions: SignInLinks::new(),
        }
    }

    pub(super) fn users(&self) -> RemotePcUsersState {
        RemotePcUsersState { directory: Arc::clone(&self.directory), remotepc: self.remotepc.clone() }
    }

    pub(super) fn operations(&self, components: &Components<'_>) -> RemotePcState {
        RemotePcState::new(RemotePcParts {
            remotepc: self.remotepc.clone(),
            idempotency: Idempotency { context: components.context.clone() },
            timeout: components.config.remotepc.timeout,
            directory: Arc::clone(&self.directory),
            clock: Arc::clone(&components.context.clock),
        })
    }
}
