//! From the values of the layers to the typed configuration: every section parsed, every rule checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use secrecy::ExposeSecret;

use super::problem::ConfigProblem;
use super::reader::{Bad, TableReader};
use super::schema;
use super::value::{Layer, Table, Value};
use super::{
    AuthenticationsConfig, Config, DeliveryConfig, InternalConfig, ProvisioningConfig, PublicConfig,
    RemotePcConfig, RetentionConfig, ServiceConfig, TelemetryConfig, endpoint, rules,
};
use crate::domain::{EndpointSettings, ProvisioningMode, ServiceName};

/// The configuration, or every problem that it has.
pub(super) fn build(merged: &Layer, dir: &Path, problems: &mut Vec<ConfigProblem>) -> Result<Config, Bad> {
    let mut building = Building { merged, dir, problems };
    let public = building.public();
    let internal = building.internal();
    let database = building.single("database", |r, dir| r.required("url", rules::database(dir)));
    let services = building.services();
    let allow_unauthenticated = building.single("callback", |r, _| r.switch("allow_unauthenticated"));
    let endpoints = building.endpoints(services.as_deref().ok());
    let delivery = building.delivery();
    let remotepc = building.remotepc();
    let provisioning = building.provisioning(services.as_deref().ok(), remotepc.as_ref().ok());
    let authentications = building.single("authentications", |r, _| {
        let (claim_within, min_trust) =
            (r.required("claim_within", rules::fresh), r.required("min_trust", rules::min_trust));
        Ok(AuthenticationsConfig { claim_within: claim_within?, min_trust: min_trust? })
    });
    let retention = building.single("retention", |r, _| {
        let events = r.required("events", rules::kept);
        let audit = r.required("audit", rules::kept);
        Ok(RetentionConfig { events: events?, audit: audit? })
    });
    let telemetry = building.telemetry();
    Ok(Config {
        public: public?,
        internal: internal?,
        database: database?,
        services: services?,
        allow_unauthenticated: allow_unauthenticated?,
        endpoints: endpoints?,
        delivery: delivery?,
        remotepc: remotepc?,
        provisioning: provisioning?,
        authentications: authentications?,
        retention: retention?,
        telemetry: telemetry?,
    })
}

struct Building<'a> {
    merged: &'a Layer,
    dir: &'a Path,
    problems: &'a mut Vec<ConfigProblem>,
}

impl Building<'_> {
    fn table(&self, name: &str) -> &Table {
        self.merged.sections.get(name).expect("the defaults have every section")
    }

    fn single<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut TableReader<'_>, &Path) -> Result<T, Bad>,
    ) -> Result<T, Bad> {
        let section = schema::section(name).expect("callers ask only for sections of the schema");
        let table = self.merged.sections.get(name).expect("the defaults have every section");
        read(&mut TableReader { section, table, problems: self.problems }, self.dir)
    }

    fn several<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut TableReader<'_>) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        let section = schema::section(name).expect("callers ask only for sections of the schema");
        let tables = self.merged.repeated.get(name).map_or(&[][..], Vec::as_slice);
        let read: Vec<_> = tables
            .iter()
            .map(|table| read(&mut TableReader { section, table, problems: self.problems }))
            .collect();
        read.into_iter().collect()
    }

    fn public(&mut self) -> Result<PublicConfig, Bad> {
        self.single("public", |r, _| {
            let listen = r.required("listen", rules::listen);
            let url = r.optional("url", rules::http_url);
            let trusted_proxies = r.list("trusted_proxies", rules::net);
            let cors_origins = r.list("cors_origins", rules::origin);
            let idle_timeout = r.required("idle_timeout", rules::idle);
            let drain = r.required("drain", rules::drain);
            Ok(PublicConfig {
                listen: listen?,
                url: url?,
                trusted_proxies: trusted_proxies?,
                cors_origins: cors_origins?,
                idle_timeout: idle_timeout?,
                drain: drain?,
            })
        })
    }

    fn internal(&mut self) -> Result<InternalConfig, Bad> {
        let public = match self.table("public").values.get("listen").map(|found| &found.value) {
            Some(Value::Text(text)) => text.parse::<SocketAddr>().ok(),
            _ => None,
        };
        self.single("internal", |r, _| {
            let listen = r.required("listen", rules::listen);
            let admin_key = r.optional("admin_key", rules::header_key(24));
            let max_streams = r.number("max_streams", &(1..=10_000));
            let idle_timeout = r.required("idle_timeout", rules::idle);
            let listen = listen?;
            if public.is_some_and(|public| overlap(public, listen)) {
                r.note(
                    "listen",
                    format!("{listen} is taken by public.listen; each listener needs a port of its own"),
                );
                return Err(Bad);
            }
            Ok(InternalConfig {
                listen,
                admin_key: admin_key?,
                max_streams: max_streams?,
                idle_timeout: idle_timeout?,
            })
        })
    }

    /// `default` first, if there is one: it exists unless there is a `[[service]]` and `[callback]` is empty.
    fn services(&mut self) -> Result<Vec<ServiceConfig>, Bad> {
        let declared = self.several("service", |r| {
            let name = r.required("name", rules::domain::<ServiceName>);
            let tokens = r.list("tokens", rules::token);
            let allow_from = r.list("allow_from", rules::net);
            let tokens = tokens?;
            if tokens.is_empty() {
                r.note("tokens", "a further service needs a token; its address alone is not enough");
                return Err(Bad);
            }
            Ok(ServiceConfig { name: name?, tokens, allow_from: allow_from? })
        });
        let table = self.table("callback");
        let is_empty = table.values.values().all(|found| match &found.value {
            Value::List(list) => list.is_empty(),
            Value::Switch(switch) => !switch,
            _ => false,
        });
        let default = self.single("callback", |r, _| {
            let tokens = r.list("tokens", rules::token);
            let allow_from = r.list("allow_from", rules::net);
            Ok(ServiceConfig {
                name: ServiceName::default_service(),
                tokens: tokens?,
                allow_from: allow_from?,
            })
        });
        let declared = declared?;
        let default = default?;
        let has_default = !is_empty || self.merged.repeated.get("service").is_none_or(Vec::is_empty);
        let mut services: Vec<_> = has_default.then_some(default).into_iter().chain(declared).collect();
        self.check_services(&services, has_default)?;
        services.sort_by_key(|service| service.name != ServiceName::default_service());
        Ok(services)
    }

    /// No two services of one name, and no token that opens two.
    fn check_services(&mut self, services: &[ServiceConfig], has_default: bool) -> Result<(), Bad> {
        let before = self.problems.len();
        let mut names = BTreeSet::new();
        let mut tokens = BTreeMap::new();
        for (index, service) in services.iter().enumerate() {
            // The first one is `[callback]`, if there is that.
            let declared = index.checked_sub(usize::from(has_default));
            let table =
                declared.map_or_else(|| self.table("callback"), |n| &self.merged.repeated["service"][n]);
            let path = table.path.clone();
            let origin = table.origin.clone();
            if !names.insert(&service.name) {
                let text = if has_default && service.name == ServiceName::default_service() {
                    "`default` is the service of [callback], which is not empty; use one or the other"
                        .to_owned()
                } else {
                    format!("there are two services named {}", service.name)
                };
                self.problems.push(ConfigProblem::new(origin.clone(), format!("{path}.name"), text));
            }
            for (nth, token) in service.tokens.iter().enumerate() {
                match tokens.insert(token.expose_secret(), index) {
                    Some(other) if other != index => {
                        let text = format!(
                            "the service {} has the same token; then nobody could tell them apart",
                            services[other].name
                        );
                        self.problems.push(ConfigProblem::new(
                            origin.clone(),
                            format!("{path}.tokens[{nth}]"),
                            text,
                        ));
                    }
                    _ => {}
                }
            }
        }
        if self.problems.len() == before { Ok(()) } else { Err(Bad) }
    }

    /// Without services, because they are wrong themselves, any name of one is good enough.
    fn endpoints(&mut self, services: Option<&[ServiceConfig]>) -> Result<Vec<EndpointSettings>, Bad> {
        let known = services.map(|all| all.iter().map(|service| service.name.as_str()).collect::<Vec<_>>());
        let endpoints = self.several("endpoint", |r| endpoint::settings(r, known.as_deref()))?;
        let mut names = BTreeSet::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            if !names.insert(&endpoint.name) {
                let table = &self.merged.repeated["endpoint"][index];
                let text = format!("there are two endpoints named {}", endpoint.name);
                let path = format!("{}.name", table.path);
                self.problems.push(ConfigProblem::new(table.origin.clone(), path, text));
            }
        }
        if names.len() == endpoints.len() { Ok(endpoints) } else { Err(Bad) }
    }

    fn delivery(&mut self) -> Result<DeliveryConfig, Bad> {
        self.single("delivery", |r, dir| {
            let schedule = r.schedule();
            let connect_timeout = r.required("connect_timeout", rules::timeout);
            let timeout = r.required("timeout", rules::timeout);
            let max_in_flight = r.number("max_in_flight", &(1..=10_000));
            let per_endpoint = r.number("max_in_flight_per_endpoint", &(1..=10_000));
            let disable_after = r.required("disable_after", rules::kept);
            let allow_private_networks = r.list("allow_private_networks", rules::allowed_network);
            let proxy = r.optional("proxy", rules::proxy);
            let ca_file = r.optional("ca_file", rules::ca_file(dir));
            let schedule = schedule?.waits();
            let connect_timeout = connect_timeout?;
            let timeout = timeout?;
            if connect_timeout > timeout {
                r.note("connect_timeout", "it is longer than delivery.timeout, of which it is a part: lower delivery.connect_timeout or raise delivery.timeout");
                return Err(Bad);
            }
            Ok(DeliveryConfig {
                schedule,
                connect_timeout,
                timeout,
                max_in_flight: max_in_flight?,
                max_in_flight_per_endpoint: per_endpoint?,
                disable_after: disable_after?,
                allow_private_networks: allow_private_networks?,
                proxy: proxy?,
                ca_file: ca_file?,
            })
        })
    }

    fn remotepc(&mut self) -> Result<RemotePcConfig, Bad> {
        self.single("remotepc", |r, dir| {
            let base_url = r.required("base_url", rules::http_url);
            let api_key = r.optional("api_key", rules::header_key(1));
            let timeout = r.required("timeout", rules::timeout);
            let max_in_flight = r.number("max_in_flight", &(1..=10_000));
            let list_cache = r.required("list_cache", rules::shown_again);
            let proxy = r.optional("proxy", rules::proxy);
            let ca_file = r.optional("ca_file", rules::ca_file(dir));
            Ok(RemotePcConfig {
                base_url: base_url?,
                api_key: api_key?,
                timeout: timeout?,
                max_in_flight: max_in_flight?,
                list_cache: list_cache?,
                proxy: proxy?,
                ca_file: ca_file?,
            })
        })
    }

    fn provisioning(
        &mut self,
        services: Option<&[ServiceConfig]>,
        remotepc: Option<&RemotePcConfig>,
    ) -> Result<ProvisioningConfig, Bad> {
        let known: Option<Vec<&str>> =
            services.map(|services| services.iter().map(|service| service.name.as_str()).collect());
        self.single("provisioning", |r, _| {
            let mode = r.required("mode", rules::provisioning_mode);
            let services = r.list("services", |text| rules::service(text, known.as_deref()));
            let computers = r.number("computers", &(0..=10_000));
            let schedule = r.schedule();
            let mode = mode?;
            let schedule = schedule?.waits();
            if mode == ProvisioningMode::On && remotepc.is_some_and(|remotepc| remotepc.api_key.is_none()) {
                r.note("mode", "nobody can be invited without remotepc.api_key");
                return Err(Bad);
            }
            let computers = u32::try_from(computers?).map_err(|_| Bad)?;
            Ok(ProvisioningConfig { mode, services: services?, computers, schedule })
        })
    }

    fn telemetry(&mut self) -> Result<TelemetryConfig, Bad> {
        self.single("telemetry", |r, _| {
            let log_format = r.required("log_format", rules::log_format);
            let otlp_endpoint = r.optional("otlp_endpoint", rules::http_url);
            Ok(TelemetryConfig { log_format: log_format?, otlp_endpoint: otlp_endpoint? })
        })
    }
}

/// Returns whether two listeners would claim the same port. Port 0 is a new one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let a = one.ip().to_canonical();
    let b = other.ip().to_canonical();
    one.port() == other.port() && one.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}
