//! Components that call the reseller API.

use std::sync::Arc;
use std::time::Duration;

use crate::audited::{AuditRecorder, AuditedRemotePc};
use crate::config::{Config, ProvisioningConfig};
use crate::context::Context;
use crate::domain::{InvitationRule, ProvisioningMode, RetryPolicy};
use crate::http::{RemotePcSessionsState, RemotePcState, RemotePcUsersState};
use crate::provisioning::{self, Provisioner};
use crate::remotepc::{Client, RemotePcSettings, SignInLinks, UserListCache};
use crate::resolver::Resolve;

/// Audited client of the reseller API, which all operations go through, and its cached user list.
pub(super) struct Reseller {
    remotepc: AuditedRemotePc,
    directory: Arc<UserListCache>,
    timeout: Duration,
}

impl Reseller {
    pub(super) fn new(
        context: &Context,
        config: &Config,
        resolver: Arc<dyn Resolve>,
    ) -> anyhow::Result<Self> {
        let context = context.clone();
        let timeout = config.remotepc.timeout;
        let config = &config.remotepc;
        let client = Client::new(RemotePcSettings {
            base_url: config.base_url.clone(),
            api_key: config.api_key.clone(),
            timeout: config.timeout,
            max_in_flight: config.max_in_flight,
            proxy: config.proxy.clone(),
            ca_file: config.ca_file.clone(),
            resolver,
        })?;
        let directory = Arc::new(UserListCache::new(Arc::clone(&context.clock), config.list_cache));
        let trail = AuditRecorder(context.clone());
        let remotepc = AuditedRemotePc { client: Arc::new(client), trail, context };
        Ok(Self { remotepc, directory, timeout })
    }

    /// Builds the provisioning rule, if it is configured.
    pub(super) async fn provisioner(
        &self,
        settings: &ProvisioningConfig,
    ) -> anyhow::Result<Option<Provisioner>> {
        let context = self.remotepc.context.clone();
        if settings.mode == ProvisioningMode::Off {
            context.store.end_provisioning().await?;
            return Ok(None);
        }
        let parts = provisioning::ProvisionerParts {
            remotepc: self.remotepc.clone(),
            directory: Arc::clone(&self.directory),
            rule: InvitationRule {
                dry_run: settings.mode == ProvisioningMode::DryRun,
                services: settings.services.clone(),
                computers: settings.computers,
            },
            policy: RetryPolicy::new(settings.schedule.clone()),
            timeout: self.timeout,
        };
        Ok(Some(Provisioner::open(context, parts).await?))
    }

    pub(super) fn sessions(&self) -> RemotePcSessionsState {
        RemotePcSessionsState { remotepc: self.remotepc.clone(), sessions: SignInLinks::new() }
    }

    pub(super) fn users(&self) -> RemotePcUsersState {
        RemotePcUsersState { directory: Arc::clone(&self.directory), remotepc: self.remotepc.clone() }
    }

    pub(super) fn operations(&self) -> RemotePcState {
        RemotePcState::new(self.remotepc.clone(), Arc::clone(&self.directory), self.timeout)
    }
}
