//! Shared handles, and the components that are built from them.

use std::sync::Arc;

use axum::Router;

use super::Environment;
use super::background::BackgroundTasks;
use crate::audited::{AuditRecorder, AuditedRemotePc};
use crate::authentications::{Authentications, Expiry, Follower, Parts};
use crate::config::Config;
use crate::dispatch::{Driver, DriverParts, lease_for};
use crate::domain::{InvitationRule, ProvisioningMode, RetryPolicy, ServiceName};
use crate::egress::{Guard, Sender, SenderSettings};
use crate::fast_path::{ConcurrencyLimiter, LeaseSender};
use crate::http::{
    AuditState, AuthenticationsState, CallbackAuth, CallbackState, Count, DeliveriesState, EndpointsState,
    EventsState, GateRule, HealthState, Idempotency, InternalStates, RejectedCallbacksState, RemotePcParts,
    RemotePcSessionsState, RemotePcState, RemotePcUsersState, RequestIds, SendingDefaults, Streams,
    TrustedProxies,
};
use crate::intake::{Recorder, Writer};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::provisioning::Provisioner;
use crate::retention::Retention;
use crate::store::{EventStore, Store};
use crate::telemetry::Metrics;
use crate::{http, intake, provisioning, remotepc};

/// Handles that every component gets.
pub(super) struct Context {
    pub(super) environment: Environment,
    pub(super) store: Arc<dyn Store>,
    pub(super) notifier: Notifier,
    pub(super) metrics: Metrics,
    pub(super) lifecycle: Lifecycle,
}

/// Upstream, for all who do something there.
pub(super) struct Reseller {
    remotepc: AuditedRemotePc,
    directory: Arc<remotepc::UserListCache>,
}

impl Context {
    pub(super) fn sender(&self, config: &Config, guard: Arc<Guard>) -> anyhow::Result<Arc<Sender>> {
        let delivery = &config.delivery;
        let settings = SenderSettings {
            connect_timeout: delivery.connect_timeout,
            timeout: delivery.timeout,
            proxy: delivery.proxy.clone(),
            ca_file: delivery.ca_file.clone(),
        };
        Ok(Arc::new(Sender::new(settings, guard, Arc::clone(&self.environment.clock))?))
    }

    pub(super) fn driver(&self, config: &Config, sender: Arc<Sender>, limiter: ConcurrencyLimiter) -> Driver {
        let delivery = &config.delivery;
        Driver::new(DriverParts {
            store: Arc::clone(&self.store),
            sender,
            notifier: self.notifier.clone(),
            limiter,
            policy: RetryPolicy::new(delivery.schedule.clone()),
            timeout: delivery.timeout,
            disable_after: delivery.disable_after,
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
        })
    }

    pub(super) fn recorder(&self, config: &Config, fast_path: LeaseSender) -> Recorder {
        let writer = Writer {
            store: Arc::clone(&self.store) as Arc<dyn EventStore>,
            notifier: self.notifier.clone(),
            fast_path,
            lease: lease_for(config.delivery.timeout),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
        };
        Recorder::start(writer, &self.lifecycle, intake::QUEUE)
    }

    pub(super) async fn authentications(&self, config: &Config) -> anyhow::Result<Arc<Authentications>> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
            claim_within: config.authentications.claim_within,
            min_trust: config.authentications.min_trust,
            issuer: public_url(config).unwrap_or_else(|| "remgate".to_owned()),
        };
        Ok(Arc::new(Authentications::open(parts).await?))
    }

    /// Builds the background tasks.
    pub(super) async fn background(
        &self,
        config: &Config,
        reseller: &Reseller,
    ) -> anyhow::Result<BackgroundTasks> {
        Ok(BackgroundTasks {
            expiry: self.expiry(),
            follower: self.follower(),
            provisioner: self.provisioner(config, reseller).await?,
            retention: self.retention(config),
        })
    }

    fn expiry(&self) -> Expiry {
        Expiry {
            store: Arc::clone(&self.store),
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
        }
    }

    fn retention(&self, config: &Config) -> Retention {
        Retention {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.environment.clock),
            audit: config.retention.audit,
            lifecycle: self.lifecycle.clone(),
        }
    }

    fn follower(&self) -> Follower {
        Follower {
            store: Arc::clone(&self.store),
            notifier: self.notifier.clone(),
            lifecycle: self.lifecycle.clone(),
        }
    }

    pub(super) fn public(
        &self,
        config: &Config,
        recorder: Recorder,
        authentications: Arc<Authentications>,
    ) -> Router {
        let rules = config.services.iter().map(|service| GateRule {
            service: service.name.clone(),
            tokens: service.tokens.clone(),
            allow_from: service.allow_from.clone(),
        });
        let gate = CallbackAuth::new(rules.collect());
        for (service, token) in gate.tokens() {
            self.metrics.declare_callback_token(service.as_str(), token);
        }
        let count = Count::public(&self.metrics);
        let callback = CallbackState {
            gate,
            store: Arc::clone(&self.store),
            refusals: count.refusals.clone(),
            proxies: TrustedProxies::new(config.public.trusted_proxies.clone()),
            recorder,
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
        };
        http::public(callback, authentications, &config.public.cors_origins, self.request_ids(), count)
    }

    pub(super) fn endpoints(
        &self,
        config: &Config,
        declared_in: &str,
        guard: Arc<Guard>,
        sender: Arc<Sender>,
    ) -> EndpointsState {
        EndpointsState {
            store: Arc::clone(&self.store),
            guard,
            sender,
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            services: services(config),
            declared_in: declared_in.to_owned(),
            defaults: SendingDefaults {
                schedule: config.delivery.schedule.clone(),
                timeout: config.delivery.timeout,
                max_in_flight: config.delivery.max_in_flight_per_endpoint,
            },
        }
    }

    pub(super) fn internal(
        &self,
        config: &Config,
        endpoints: EndpointsState,
        authentications: Arc<Authentications>,
        recorder: Recorder,
        Reseller { remotepc, directory }: Reseller,
    ) -> Router {
        let states = InternalStates {
            keys: self.keys(config),
            api_keys: self.api_keys(config),
            events: self.events(config),
            authentications: AuthenticationsState {
                authentications,
                services: services(config),
                public_url: public_url(config).unwrap_or_default(),
            },
            endpoints,
            deliveries: self.deliveries(),
            idempotency: self.idempotency(),
            rejected_callbacks: RejectedCallbacksState {
                store: Arc::clone(&self.store),
                notifier: self.notifier.clone(),
                clock: Arc::clone(&self.environment.clock),
                rng: self.environment.rng.clone(),
                metrics: self.metrics.clone(),
            },
            health: self.health(recorder),
            audit: AuditState { store: Arc::clone(&self.store) },
            remotepc_sessions: self.remotepc_sessions(remotepc.clone()),
            remotepc_users: RemotePcUsersState {
                directory: Arc::clone(&directory),
                remotepc: remotepc.clone(),
            },
            remotepc: RemotePcState::new(RemotePcParts {
                remotepc,
                idempotency: self.idempotency(),
                timeout: config.remotepc.timeout,
                directory,
                clock: Arc::clone(&self.environment.clock),
            }),
        };
        http::internal(states, self.request_ids(), Count::internal(&self.metrics))
    }

    fn events(&self, config: &Config) -> EventsState {
        EventsState {
            store: Arc::clone(&self.store),
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            lifecycle: self.lifecycle.clone(),
            metrics: self.metrics.clone(),
            rng: self.environment.rng.clone(),
            streams: Streams::new(config.internal.max_streams),
        }
    }

    fn deliveries(&self) -> DeliveriesState {
        DeliveriesState {
            store: Arc::clone(&self.store),
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            metrics: self.metrics.clone(),
        }
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.environment.clock),
            lifecycle: self.lifecycle.clone(),
        }
    }

    fn health(&self, recorder: Recorder) -> HealthState {
        HealthState {
            recorder,
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.environment.clock),
            lifecycle: self.lifecycle.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Builds the audited client of `RemotePC`, which all operations go through.
    pub(super) fn reseller(&self, config: &Config) -> anyhow::Result<Reseller> {
        let settings = remotepc::Settings {
            base_url: config.remotepc.base_url.clone(),
            api_key: config.remotepc.api_key.clone(),
            timeout: config.remotepc.timeout,
            max_in_flight: config.remotepc.max_in_flight,
            proxy: config.remotepc.proxy.clone(),
            ca_file: config.remotepc.ca_file.clone(),
            resolver: Arc::clone(&self.environment.resolver),
        };
        let client = Arc::new(remotepc::Client::new(settings)?);
        let clock = Arc::clone(&self.environment.clock);
        let directory = Arc::new(remotepc::UserListCache::new(clock, config.remotepc.list_cache));
        Ok(Reseller { remotepc: self.remotepc(client), directory })
    }

    /// Builds the provisioning rule, if it is configured.
    async fn provisioner(&self, config: &Config, reseller: &Reseller) -> anyhow::Result<Option<Provisioner>> {
        let settings = &config.provisioning;
        if settings.mode == ProvisioningMode::Off {
            self.store.end_provisioning().await?;
            return Ok(None);
        }
        let parts = provisioning::Parts {
            store: Arc::clone(&self.store),
            remotepc: reseller.remotepc.clone(),
            directory: Arc::clone(&reseller.directory),
            notifier: self.notifier.clone(),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
            rule: InvitationRule {
                dry_run: settings.mode == ProvisioningMode::DryRun,
                services: settings.services.clone(),
                computers: settings.computers,
            },
            policy: RetryPolicy::new(settings.schedule.clone()),
            timeout: config.remotepc.timeout,
        };
        Ok(Some(Provisioner::open(parts).await?))
    }

    fn remotepc(&self, client: Arc<remotepc::Client>) -> AuditedRemotePc {
        AuditedRemotePc {
            client,
            trail: AuditRecorder {
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.environment.clock),
                rng: self.environment.rng.clone(),
            },
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
        }
    }

    fn remotepc_sessions(&self, remotepc: AuditedRemotePc) -> RemotePcSessionsState {
        RemotePcSessionsState {
            remotepc,
            sessions: remotepc::SignInLinks::new(),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
        }
    }

    fn request_ids(&self) -> RequestIds {
        RequestIds::new(Arc::clone(&self.environment.clock), self.environment.rng.clone())
    }
}

fn services(config: &Config) -> Vec<ServiceName> {
    config.services.iter().map(|service| service.name.clone()).collect()
}

/// Configured URL of the public listener.
fn public_url(config: &Config) -> Option<String> {
    config.public.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
}
