//! The composition root: the only module that imports all others. It builds the components from the configuration and runs
//! them until the stop.

mod background;
mod components;
mod environment;
mod locks;
mod reseller;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{AllowedNetwork, Config};
use crate::context::Context;
use crate::dispatch::Driver;
use crate::domain::{AdminKeys, EndpointId, EndpointSettings, RandomSource};
use crate::egress::{Allowed, Guard};
use crate::fast_path::LeaseReceiver;
use crate::http::{DisconnectPolicy, Listening, RequestCounter};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{Declaration, Store, StoreError};
use crate::telemetry::{DroppedLines, Metrics, log_waiting};
use crate::{http, store};
use background::BackgroundTasks;
use components::Components;
use environment::location;
use locks::stored_admin_keys;
use reseller::Reseller;

pub use environment::Environment;
pub use locks::{check_access, has_stored_admin_key};

/// Time for work to finish at a stop; then it is dropped. With the closing of connections and store the stop stays below the ten seconds
/// that containers are given.
const GRACE: Duration = Duration::from_secs(6);

/// Maximum time for closing the store.
const CLOSE: Duration = Duration::from_millis(500);

/// Requested length of the system's queue of new connections; the system may allow fewer. With a full queue a client
/// repeats its SYN after a second: too long for a callback, or when thousands of apps reconnect.
const BACKLOG: u32 = 4096;

/// Time between two runs of the metrics' maintenance.
const UPKEEP: Duration = Duration::from_secs(5);

/// Gateway that is built, bound and ready to run.
pub struct Gateway {
    public: Bound,
    internal: Bound,
    driver: Driver,
    background: BackgroundTasks,
    fast_leases: LeaseReceiver,
    context: Context,
    stored: AdminKeys,
    drain: Duration,
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    idle_timeout: Duration,
}

impl Gateway {
    /// Opens the store, brings its schema up to date, declares the endpoints and binds both listeners. `declared_in` is
    /// the location of the configuration, for people. The caller has checked the access rule.
    pub async fn build(config: &Config, declared_in: &str, environment: Environment) -> anyhow::Result<Self> {
        // Listeners first: when a port is taken, nothing else has happened.
        let public = bind("public", config.public.listen).await?;
        let internal = bind("internal", config.internal.listen).await?;
        let store = store::open(&location(&config.database), &environment.rng).await?;
        let now = environment.clock.now();
        take_over(&*store, &declarations(&config.endpoints, &environment), now).await?;
        let stored = stored_admin_keys(&*store, config, now).await?;
        let Environment { clock, rng, resolver } = environment;
        let context = Context {
            store,
            notifier: Notifier::new(),
            clock,
            rng,
            metrics: Metrics::new(),
            lifecycle: Lifecycle::new(),
        };
        let guard = guard(config, [public.address, internal.address]);
        let guard = Arc::new(guard.resolving_by(Arc::clone(&resolver)));
        for warning in unreachable(&config.endpoints, &guard) {
            tracing::warn!("{warning}");
        }
        let components = Components { context: &context, config };
        let sender = components.sender(Arc::clone(&guard))?;
        let (recorder, driver, fast_leases) = components.deliveries(Arc::clone(&sender));
        let authentications = components.authentications().await?;
        let reseller = Reseller::new(&context, config, resolver)?;
        let background = components.background(&reseller).await?;
        let endpoints = components.endpoints(declared_in, guard, sender);
        let public_router = components.public(recorder.clone(), Arc::clone(&authentications));
        let internal_router = components.internal(endpoints, authentications, recorder, &reseller);
        Ok(Self {
            background,
            public: public.serving(public_router, config.public.idle_timeout),
            internal: internal.serving(internal_router, config.internal.idle_timeout),
            drain: config.public.drain,
            driver,
            fast_leases,
            context,
            stored,
        })
    }

    /// Address of the public listener.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public.address
    }

    /// Address of the internal listener.
    #[must_use]
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address
    }

    /// Returns whether the store holds an admin key, valid or expired. The internal listener then requires a key.
    #[must_use]
    pub fn has_stored_admin_key(&self) -> bool {
        self.stored != AdminKeys::None
    }

    /// Serves both listeners until `stop` ends, then shuts down. Returns whether everything finished by itself; unfinished deliveries are
    /// attempted again after the next start.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let Self { public, internal, driver, background, fast_leases, context, drain, .. } = self;
        let Context { store, notifier, clock, metrics, lifecycle, .. } = context;
        for (bound, count, hung_up) in [
            (public, RequestCounter::public(&metrics), DisconnectPolicy::Finish),
            (internal, RequestCounter::internal(&metrics), DisconnectPolicy::Forget),
        ] {
            let listening = Listening {
                router: bound.router,
                count,
                hung_up,
                idle_timeout: bound.idle_timeout,
                clock: Arc::clone(&clock),
                lifecycle: lifecycle.clone(),
            };
            lifecycle.spawn_connection(http::serve(bound.listener, listening));
        }
        lifecycle.spawn(driver.run(fast_leases));
        background.begin(&lifecycle);
        let listening = Arc::clone(&store);
        let stop_listening = lifecycle.soft().clone();
        lifecycle.spawn(async move { listening.listen(&notifier, &stop_listening).await });
        let until_soft = lifecycle.soft().clone();
        lifecycle.spawn(async move {
            until_soft.run_until_cancelled(keep_up(metrics)).await;
        });
        stop.await;
        let finished = lifecycle.stop(GRACE, drain).await;
        let closed = tokio::time::timeout(CLOSE, store.close()).await.is_ok();
        finished && closed
    }
}

async fn keep_up(metrics: Metrics) {
    let mut dropped = DroppedLines::default();
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.upkeep();
        dropped.report();
    }
}

/// Stores the declared endpoints, and makes deliveries due that were under way when the last process ended.
async fn take_over(store: &dyn Store, declarations: &[Declaration], now: Timestamp) -> anyhow::Result<()> {
    log_waiting("the declared endpoints to be stored", store.declare(declarations, now)).await?;
    let released = log_waiting("deliveries of the last run to be released", store.take_over(now)).await?;
    if released > 0 {
        tracing::info!(
            released,
            "found deliveries that were under way when remgate last ended; they are due again"
        );
    }
    Ok(())
}

/// Returns a warning for each declared endpoint whose address the egress guard refuses.
#[must_use]
pub fn unreachable_endpoints(config: &Config, listeners: [SocketAddr; 2]) -> Vec<String> {
    unreachable(&config.endpoints, &guard(config, listeners))
}

fn unreachable(endpoints: &[EndpointSettings], guard: &Guard) -> Vec<String> {
    let refused = endpoints.iter().filter_map(|endpoint| {
        let refusal = guard.check_url(&endpoint.url).err()?;
        Some(format!("nothing is delivered to the endpoint {}: {refusal}", endpoint.name))
    });
    refused.collect()
}

fn guard(config: &Config, listeners: [SocketAddr; 2]) -> Guard {
    Guard::new(allowed(&config.delivery.allow_private_networks)).forbid(listeners.to_vec())
}

/// Listening socket with its address.
struct Socket {
    listener: TcpListener,
    address: SocketAddr,
}

impl Socket {
    fn serving(self, router: Router, idle_timeout: Duration) -> Bound {
        Bound { listener: self.listener, address: self.address, router, idle_timeout }
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<Socket> {
    let listening = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a restart need not wait for old connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>(Socket { listener, address })
    };
    listening.await.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "another program listens there; stop it, or choose another port in",
            ErrorKind::PermissionDenied => {
                "ports below 1024 are for programs with CAP_NET_BIND_SERVICE; choose another port in"
            }
            ErrorKind::AddrNotAvailable => {
                "no network interface of this machine has the address; choose another in"
            }
            _ => "see",
        };
        anyhow!("failed to open the {name} listener at {address}: {error}; {remedy} {name}.listen")
    })
}

/// Brings the store's schema up to date. Succeeds when a running process has the SQLite file and its schema is current.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    let location = location(&config.database);
    match store::open(&location, &RandomSource::from_os()).await {
        Ok(store) => store.close().await,
        Err(StoreError::InUse { .. }) if store::is_current(&location).await? => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn allowed(networks: &[AllowedNetwork]) -> Vec<Allowed> {
    let allowed = networks.iter().map(|network| match network {
        AllowedNetwork::Net(net) => Allowed::Net(*net),
        AllowedNetwork::Host(host) => Allowed::Host(host.clone()),
    });
    allowed.collect()
}

fn declarations(endpoints: &[EndpointSettings], environment: &Environment) -> Vec<Declaration> {
    let now = environment.clock.now();
    let declarations = endpoints.iter().map(|settings| Declaration {
        id: EndpointId::new(now, &environment.rng),
        settings: settings.clone(),
    });
    declarations.collect()
}
