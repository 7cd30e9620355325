//! The composition root: alone knows every floor, builds them from the configuration, and runs them to their end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use crate::config::{AllowedNetwork, Config, Database};
use crate::dispatch::{Driver, DriverParts, lease_for};
use crate::domain::{Chance, Clock, EndpointId, EndpointSettings, RetryPolicy, SystemClock};
use crate::egress::{Allowed, Guard, Sender, SenderSettings};
use crate::handover::{Giver, Places, Taker, handover};
use crate::http::{
    CallbackState, EndpointsState, EventsState, Gate, GateRule, HealthState, HungUp, Idempotency,
    InternalStates, Keys, RemotePcSessionsState, RemotePcState, RemotePcUsersState, RequestIds,
    SendingDefaults, Streams, TrustedProxies,
};
use crate::intake::{Recorder, Writer};
use crate::lifecycle::Lifecycle;
use crate::store::{Declaration, EventStore, Location, Store};
use crate::telemetry::Metrics;
use crate::wake::Wake;
use crate::{http, intake, remotepc, store};

/// How long everything has to finish when remgate is told to stop; what then still runs has half as long again.
/// Together with the closing of the store that stays below the ten seconds that a container is given.
const GRACE: Duration = Duration::from_secs(6);

/// How long the store may take to close.
const CLOSE: Duration = Duration::from_millis(500);

/// How often observations are folded into the figures.
const UPKEEP: Duration = Duration::from_secs(5);

/// Where time and chance come from: the machine, or a test.
#[derive(Clone)]
pub struct Seams {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What makes things unique.
    pub chance: Chance,
}

impl Seams {
    /// The machine's own.
    #[must_use]
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), chance: Chance::from_os() }
    }
}

/// A gateway that is built, bound and ready to run.
pub struct Gateway {
    public: Bound,
    internal: Bound,
    driver: Driver,
    handed: Taker,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    wake: Wake,
    metrics: Metrics,
    lifecycle: Lifecycle,
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

/// What the rooms share.
struct Shared {
    seams: Seams,
    store: Arc<dyn Store>,
    wake: Wake,
    metrics: Metrics,
    lifecycle: Lifecycle,
}

impl Gateway {
    /// Opens the store, brings its schema up to date, declares the endpoints and binds both doors. `declared_in` says
    /// to people where the configuration stands. The lock rule is the caller's to check.
    pub async fn build(config: &Config, declared_in: &str, seams: Seams) -> anyhow::Result<Self> {
        // Doors first: where a port is taken, nothing else has happened yet.
        let (public, public_address) = bind("public", config.public.listen).await?;
        let (internal, internal_address) = bind("internal", config.internal.listen).await?;
        let process = format!("{:016x}", u64::from_le_bytes(seams.chance.bytes()));
        let store = store::open(&location(&config.database), &process).await?;
        let now = seams.clock.now();
        store.declare(&declarations(&config.endpoints, &seams), now).await?;
        let released = store.take_over(now).await?;
        if released > 0 {
            tracing::info!(
                released,
                "found deliveries that were under way when remgate last ended; they are due again"
            );
        }
        let wake = Wake::new();
        let shared = Shared { seams, store, wake, metrics: Metrics::new(), lifecycle: Lifecycle::new() };
        let guard = Guard::new(allowed(&config.delivery.allow_private_networks));
        let guard = Arc::new(guard.forbid(vec![public_address, internal_address]));
        for endpoint in &config.endpoints {
            if let Err(refusal) = guard.check_url(&endpoint.url) {
                tracing::warn!(endpoint = %endpoint.name, %refusal, "an endpoint is out of reach as long as this is so");
            }
        }
        let places = Places::new(config.delivery.max_in_flight, config.delivery.max_in_flight_per_endpoint);
        let (giver, handed) = handover(places.clone());
        let sender = shared.sender(config, Arc::clone(&guard))?;
        let driver = shared.driver(config, Arc::clone(&sender), places);
        let recorder = shared.recorder(config, giver);
        let public_router = shared.public(config, recorder.clone());
        let endpoints = shared.endpoints(config, declared_in, guard, sender);
        let internal_router = shared.internal(config, endpoints, recorder)?;
        Ok(Self {
            public: Bound { listener: public, address: public_address, router: public_router },
            internal: Bound { listener: internal, address: internal_address, router: internal_router },
            driver,
            handed,
            store: shared.store,
            clock: shared.seams.clock,
            wake: shared.wake,
            metrics: shared.metrics,
            lifecycle: shared.lifecycle,
        })
    }

    /// Where the public door listens.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public.address
    }

    /// Where the internal door listens.
    #[must_use]
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address
    }

    /// Opens both doors and works until `stop` ends, then comes to rest. Says whether everything had finished by
    /// itself; what had not is tried again after the next start.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let Self { public, internal, driver, handed, store, clock, wake, metrics, lifecycle } = self;
        lifecycle.spawn(http::serve(
            public.listener,
            public.router,
            "public",
            HungUp::Finish,
            Arc::clone(&clock),
            lifecycle.clone(),
        ));
        lifecycle.spawn(http::serve(
            internal.listener,
            internal.router,
            "internal",
            HungUp::Forget,
            clock,
            lifecycle.clone(),
        ));
        lifecycle.spawn(driver.run(handed));
        let (listening, stop_listening) = (Arc::clone(&store), lifecycle.soft().clone());
        lifecycle.spawn(async move { listening.listen(&wake, &stop_listening).await });
        let until_soft = lifecycle.soft().clone();
        lifecycle.spawn(async move {
            until_soft.run_until_cancelled(keep_up(metrics)).await;
        });
        stop.await;
        let finished = lifecycle.stop(GRACE).await;
        let closed = tokio::time::timeout(CLOSE, store.close()).await.is_ok();
        finished && closed
    }
}

impl Shared {
    fn sender(&self, config: &Config, guard: Arc<Guard>) -> anyhow::Result<Arc<Sender>> {
        let delivery = &config.delivery;
        let settings = SenderSettings {
            connect_timeout: delivery.connect_timeout,
            timeout: delivery.timeout,
            proxy: delivery.proxy.clone(),
            ca_file: delivery.ca_file.clone(),
        };
        Ok(Arc::new(Sender::new(settings, guard, Arc::clone(&self.seams.clock))?))
    }

    fn driver(&self, config: &Config, sender: Arc<Sender>, places: Places) -> Driver {
        let delivery = &config.delivery;
        Driver::new(DriverParts {
            store: Arc::clone(&self.store),
            sender,
            wake: self.wake.clone(),
            places,
            policy: RetryPolicy::new(delivery.schedule.clone()),
            timeout: delivery.timeout,
            disable_after: delivery.disable_after,
            clock: Arc::clone(&self.seams.clock),
            chance: self.seams.chance.clone(),
            metrics: self.metrics.clone(),
            lifecycle: self.lifecycle.clone(),
        })
    }

    fn recorder(&self, config: &Config, handover: Giver) -> Recorder {
        let writer = Writer {
            store: Arc::clone(&self.store) as Arc<dyn EventStore>,
            wake: self.wake.clone(),
            handover,
            lease: lease_for(config.delivery.timeout),
            clock: Arc::clone(&self.seams.clock),
            chance: self.seams.chance.clone(),
            metrics: self.metrics.clone(),
        };
        Recorder::start(writer, &self.lifecycle, intake::QUEUE)
    }

    fn public(&self, config: &Config, recorder: Recorder) -> Router {
        let rules = config.services.iter().map(|service| GateRule {
            service: service.name.clone(),
            tokens: service.tokens.clone(),
            allow_from: service.allow_from.clone(),
        });
        let callback = CallbackState {
            gate: Gate::new(rules.collect()),
            proxies: TrustedProxies::new(config.public.trusted_proxies.clone()),
            recorder,
            clock: Arc::clone(&self.seams.clock),
            chance: self.seams.chance.clone(),
            metrics: self.metrics.clone(),
        };
        http::public(callback, self.request_ids())
    }

    fn endpoints(
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
            wake: self.wake.clone(),
            clock: Arc::clone(&self.seams.clock),
            chance: self.seams.chance.clone(),
            services: config.services.iter().map(|service| service.name.clone()).collect(),
            declared_in: declared_in.to_owned(),
            defaults: SendingDefaults {
                schedule: config.delivery.schedule.clone(),
                timeout: config.delivery.timeout,
                max_in_flight: config.delivery.max_in_flight_per_endpoint,
            },
        }
    }

    fn internal(
        &self,
        config: &Config,
        endpoints: EndpointsState,
        recorder: Recorder,
    ) -> anyhow::Result<Router> {
        let settings = remotepc::Settings {
            base_url: config.remotepc.base_url.clone(),
            api_key: config.remotepc.api_key.clone(),
            timeout: config.remotepc.timeout,
            max_in_flight: config.remotepc.max_in_flight,
            proxy: config.remotepc.proxy.clone(),
            ca_file: config.remotepc.ca_file.clone(),
        };
        let client = Arc::new(remotepc::Client::new(settings)?);
        let directory = remotepc::Directory::new(
            Arc::clone(&client),
            Arc::clone(&self.seams.clock),
            config.remotepc.list_cache,
        );
        let directory = Arc::new(directory);
        let states = InternalStates {
            keys: Keys::new(config.internal.admin_key.as_ref()),
            events: self.events(config),
            endpoints,
            idempotency: Idempotency {
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.seams.clock),
                lifecycle: self.lifecycle.clone(),
            },
            health: HealthState {
                recorder,
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.seams.clock),
                lifecycle: self.lifecycle.clone(),
                metrics: self.metrics.clone(),
            },
            remotepc_sessions: self.remotepc_sessions(&client),
            remotepc_users: RemotePcUsersState { directory: Arc::clone(&directory) },
            remotepc: RemotePcState::new(client, self.metrics.clone(), Arc::clone(&self.seams.clock)),
        };
        Ok(http::internal(states, self.request_ids()))
    }

    fn events(&self, config: &Config) -> EventsState {
        EventsState {
            store: Arc::clone(&self.store),
            wake: self.wake.clone(),
            clock: Arc::clone(&self.seams.clock),
            lifecycle: self.lifecycle.clone(),
            metrics: self.metrics.clone(),
            chance: self.seams.chance.clone(),
            streams: Streams::new(config.internal.max_streams),
        }
    }

    fn remotepc_sessions(&self, client: &Arc<remotepc::Client>) -> RemotePcSessionsState {
        RemotePcSessionsState {
            client: Arc::clone(client),
            sessions: remotepc::Sessions::new(),
            clock: Arc::clone(&self.seams.clock),
            chance: self.seams.chance.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn request_ids(&self) -> RequestIds {
        RequestIds::new(Arc::clone(&self.seams.clock), self.seams.chance.clone())
    }
}

async fn keep_up(metrics: Metrics) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.upkeep();
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    listening.await.with_context(|| format!("failed to open the {name} door at {address} ({name}.listen)"))
}

/// Brings the store's schema up to date, and does nothing else.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    store::open(&location(&config.database), "migrate").await?.close().await;
    Ok(())
}

/// Where the configuration says that the store is.
fn location(database: &Database) -> Location {
    match database {
        Database::Sqlite(path) => Location::Sqlite(path.clone()),
        Database::Postgres(url) => Location::Postgres(url.clone()),
    }
}

fn allowed(networks: &[AllowedNetwork]) -> Vec<Allowed> {
    let allowed = networks.iter().map(|network| match network {
        AllowedNetwork::Net(net) => Allowed::Net(*net),
        AllowedNetwork::Host(host) => Allowed::Host(host.clone()),
    });
    allowed.collect()
}

fn declarations(endpoints: &[EndpointSettings], seams: &Seams) -> Vec<Declaration> {
    let now = seams.clock.now();
    let declarations = endpoints
        .iter()
        .map(|settings| Declaration { id: EndpointId::new(now, &seams.chance), settings: settings.clone() });
    declarations.collect()
}
