//! The components of a gateway, built from shared handles and the configuration.

use std::sync::Arc;

use axum::Router;

use super::background::BackgroundTasks;
use super::reseller::Reseller;
use crate::authentications::{AuthenticationSettings, Authentications, Expiry, Follower};
use crate::clock_steps::ClockSteps;
use crate::config::Config;
use crate::context::Context;
use crate::dispatch::{Driver, DriverParts, lease_for};
use crate::domain::{HealthRules, RetryPolicy, ServiceName};
use crate::egress::{Guard, Sender, SenderSettings};
use crate::fast_path::{ConcurrencyLimiter, LeaseReceiver, StoreOnlyEndpoints, fast_path};
use crate::http::{
    AuditState, AuthenticationsState, CallbackAuth, CallbackState, DeliveriesState, EndpointsState,
    EventsState, GateRule, HealthState, Idempotency, InternalStates, RejectedCallbacksState, RequestCounter,
    RequestIds, SendingDefaults, Streams, TrustedProxies,
};
use crate::intake::{Recorder, Writer};
use crate::retention::Retention;
use crate::{http, intake};

/// Builds components from shared handles and the configuration.
pub(super) struct Components<'c> {
    pub(super) context: &'c Context,
    pub(super) config: &'c Config,
}

impl Components<'_> {
    pub(super) fn sender(&self, guard: Arc<Guard>) -> anyhow::Result<Arc<Sender>> {
        let delivery = &self.config.delivery;
        let settings = SenderSettings {
            connect_timeout: delivery.connect_timeout,
            timeout: delivery.timeout,
            proxy: delivery.proxy.clone(),
            ca_file: delivery.ca_file.clone(),
        };
        Ok(Arc::new(Sender::new(settings, guard, Arc::clone(&self.context.clock))?))
    }

    /// Builds intake and dispatch, with the fast path between them.
    pub(super) fn deliveries(&self, sender: Arc<Sender>) -> (Recorder, Driver, LeaseReceiver) {
        let delivery = &self.config.delivery;
        let limiter = ConcurrencyLimiter::new(delivery.max_in_flight, delivery.max_in_flight_per_endpoint);
        let store_only = StoreOnlyEndpoints::default();
        let (lease_sender, lease_receiver) = fast_path(limiter.clone(), store_only.clone());
        let writer = Writer::new(self.context, lease_sender, lease_for(delivery.timeout));
        let recorder = Recorder::start(writer, &self.context.lifecycle, intake::QUEUE);
        let parts = DriverParts {
            sender,
            limiter,
            store_only,
            policy: RetryPolicy::new(delivery.schedule.clone()),
            timeout: delivery.timeout,
            health: HealthRules { disable_after: delivery.disable_after },
        };
        (recorder, Driver::new(self.context.clone(), parts), lease_receiver)
    }

    pub(super) async fn authentications(&self) -> anyhow::Result<Arc<Authentications>> {
        let settings = AuthenticationSettings {
            claim_within: self.config.authentications.claim_within,
            min_trust: self.config.authentications.min_trust,
            issuer: self.public_url().unwrap_or_else(|| "remgate".to_owned()),
        };
        Ok(Arc::new(Authentications::open(self.context.clone(), settings).await?))
    }

    pub(super) async fn background(&self, reseller: &Reseller) -> anyhow::Result<BackgroundTasks> {
        Ok(BackgroundTasks {
            clock_steps: ClockSteps::new(self.context.clone(), self.config.delivery.timeout).await?,
            expiry: Expiry(self.context.clone()),
            follower: Follower(self.context.clone()),
            provisioner: reseller.provisioner(&self.config.provisioning).await?,
            retention: Retention { context: self.context.clone(), audit: self.config.retention.audit },
        })
    }

    pub(super) fn public(&self, recorder: Recorder, authentications: Arc<Authentications>) -> Router {
        let rules = self.config.services.iter().map(|service| GateRule {
            service: service.name.clone(),
            tokens: service.tokens.clone(),
            allow_from: service.allow_from.clone(),
        });
        let gate = CallbackAuth::new(rules.collect());
        for (service, token) in gate.tokens() {
            self.context.metrics.declare_callback_token(service.as_str(), token);
        }
        let count = RequestCounter::public(&self.context.metrics);
        let callback = CallbackState {
            context: self.context.clone(),
            gate,
            proxies: TrustedProxies::new(self.config.public.trusted_proxies.clone()),
            recorder,
            refusals: count.refusals.clone(),
        };
        http::public(callback, authentications, &self.config.public.cors_origins, self.request_ids(), count)
    }

    pub(super) fn endpoints(
        &self,
        declared_in: &str,
        guard: Arc<Guard>,
        sender: Arc<Sender>,
    ) -> EndpointsState {
        EndpointsState {
            context: self.context.clone(),
            guard,
            sender,
            services: self.services(),
            declared_in: declared_in.to_owned(),
            defaults: SendingDefaults {
                schedule: self.config.delivery.schedule.clone(),
                timeout: self.config.delivery.timeout,
                max_in_flight: self.config.delivery.max_in_flight_per_endpoint,
            },
        }
    }

    pub(super) fn internal(
        &self,
        endpoints: EndpointsState,
        authentications: Arc<Authentications>,
        recorder: Recorder,
        reseller: &Reseller,
    ) -> Router {
        let context = || self.context.clone();
        let public_url = self.public_url().unwrap_or_default();
        let states = InternalStates {
            keys: self.keys(),
            api_keys: self.api_keys(),
            events: EventsState {
                context: context(),
                streams: Streams::new(self.config.internal.max_streams),
            },
            authentications: AuthenticationsState { authentications, services: self.services(), public_url },
            endpoints,
            deliveries: DeliveriesState { context: context() },
            idempotency: Idempotency { context: context() },
            rejected_callbacks: RejectedCallbacksState { context: context() },
            health: HealthState { context: context(), recorder },
            audit: AuditState { context: context() },
            remotepc_sessions: reseller.sessions(),
            remotepc_users: reseller.users(),
            remotepc: reseller.operations(),
        };
        http::internal(states, self.request_ids(), RequestCounter::internal(&self.context.metrics))
    }

    fn request_ids(&self) -> RequestIds {
        RequestIds::new(Arc::clone(&self.context.clock), self.context.rng.clone())
    }

    pub(super) fn services(&self) -> Vec<ServiceName> {
        self.config.services.iter().map(|service| service.name.clone()).collect()
    }

    /// Configured URL of the public listener.
    fn public_url(&self) -> Option<String> {
        self.config.public.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
    }
}
