//! The typed configuration from the values of the layers, and the rules that concern several keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use secrecy::ExposeSecret;

use super::problem::ConfigProblem;
use super::reader::{Reported, TableKeys, TableReader};
use super::rule::{Rule, RuleContext};
use super::sections::{Callback, DatabaseKeys};
use super::value::{Found, Layer, Table, Value};
use super::{Config, RemotePcConfig, ServiceConfig, rules};
use crate::domain::{EndpointSettings, ProvisioningMode, ServiceName};

/// Builds the configuration. Every problem is reported.
pub(super) fn build(
    merged: &Layer,
    dir: &Path,
    problems: &mut Vec<ConfigProblem>,
) -> Result<Config, Reported> {
    let context = RuleContext { dir, services: None };
    let mut building = Building { merged, context, problems };
    let public = building.single("public");
    let internal = building.single("internal");
    building.check_listeners();
    let database = building.single::<DatabaseKeys>("database");
    let declared = building.several::<ServiceConfig>("service");
    building.check_tokens();
    let callback = building.single::<Callback>("callback");
    let allow_unauthenticated = callback.as_ref().map_or(Err(Reported), |keys| keys.allow_unauthenticated);
    let services = building.services(callback, declared);
    building.context.services =
        services.as_ref().ok().map(|all| all.iter().map(|service| service.name.to_string()).collect());
    let endpoints = building.endpoints();
    let delivery = building.single("delivery");
    building.check_timeouts();
    let remotepc = building.single::<RemotePcConfig>("remotepc");
    let provisioning = building.single("provisioning");
    building.check_provisioning(remotepc.as_ref().ok());
    let authentications = building.single("authentications");
    let retention = building.single("retention");
    let telemetry = building.single("telemetry");
    Ok(Config {
        public: public?,
        internal: internal?,
        database: database?.url,
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
    context: RuleContext<'a>,
    problems: &'a mut Vec<ConfigProblem>,
}

impl<'a> Building<'a> {
    fn table(&self, path: &str) -> &'a Table {
        self.merged.tables(path).next().expect("the defaults have every section")
    }

    fn read<T: TableKeys>(&mut self, table: &Table) -> Result<T, Reported> {
        T::read(&mut TableReader { table, context: &self.context, problems: self.problems })
    }

    fn single<T: TableKeys>(&mut self, section: &str) -> Result<T, Reported> {
        self.read(self.table(section))
    }

    fn several<T: TableKeys>(&mut self, section: &str) -> Result<Vec<T>, Reported> {
        let all: Vec<_> = self.merged.tables(section).map(|table| self.read(table)).collect();
        all.into_iter().collect()
    }

    /// The value of a key, if it can be used. Rules about several keys hold even if other keys are wrong.
    fn value<T>(&self, section: &str, key: &str, rule: &Rule<T>) -> Option<T> {
        match &self.merged.found(section, key)?.value {
            Value::Single(text) => rule.parse(text, &self.context).ok(),
            _ => None,
        }
    }

    fn report(&mut self, table: &Table, key: &str, found: Option<&Found>, text: impl Into<String>) {
        let origin = found.map_or(&table.origin, |found| &found.origin);
        self.problems.push(ConfigProblem::new(origin.clone(), format!("{}.{key}", table.path), text));
    }

    fn report_value(&mut self, section: &str, key: &str, text: impl Into<String>) {
        let table = self.table(section);
        self.report(table, key, table.values.get(key), text);
    }

    fn check_listeners(&mut self) {
        let listen = |section| self.value(section, "listen", &rules::LISTEN);
        if let (Some(public), Some(internal)) = (listen("public"), listen("internal"))
            && overlap(public, internal)
        {
            let text = format!("{internal} is taken by public.listen; each listener needs a port of its own");
            self.report_value("internal", "listen", text);
        }
    }

    /// Checks that each `[[service]]` has a token.
    fn check_tokens(&mut self) {
        for table in self.merged.tables("service") {
            let found = table.values.get("tokens");
            if found.is_none_or(|found| is_empty(&found.value)) {
                let text = "a further service needs a token; its address alone is not enough";
                self.report(table, "tokens", found, text);
            }
        }
    }

    /// Returns the services with `default` first, if there is one: unless there is a `[[service]]` and `[callback]` is empty.
    fn services(
        &mut self,
        callback: Result<Callback, Reported>,
        declared: Result<Vec<ServiceConfig>, Reported>,
    ) -> Result<Vec<ServiceConfig>, Reported> {
        let Callback { tokens, allow_from, .. } = callback?;
        let declared = declared?;
        let default = ServiceConfig { name: ServiceName::default_service(), tokens, allow_from };
        let is_set = self.table("callback").values.values().any(|found| !is_empty(&found.value));
        let default = (is_set || declared.is_empty()).then_some(default);
        let default_table = default.is_some().then(|| self.table("callback"));
        let tables: Vec<_> = default_table.into_iter().chain(self.merged.tables("service")).collect();
        let mut services: Vec<_> = default.into_iter().chain(declared).collect();
        self.check_services(&services, &tables)?;
        services.sort_by_key(|service| service.name != ServiceName::default_service());
        Ok(services)
    }

    /// Checks that no two services have the same name or the same token.
    fn check_services(&mut self, services: &[ServiceConfig], tables: &[&Table]) -> Result<(), Reported> {
        let before = self.problems.len();
        let mut names = BTreeSet::new();
        let mut tokens = BTreeMap::new();
        for (index, (service, table)) in services.iter().zip(tables).enumerate() {
            if !names.insert(&service.name) {
                let is_callback = tables[0].section.name == "callback";
                let text = if is_callback && service.name == ServiceName::default_service() {
                    "`default` is the service of [callback], which is not empty; use one or the other"
                        .to_owned()
                } else {
                    format!("there are two services named {}", service.name)
                };
                self.report(table, "name", None, text);
            }
            for (number, token) in service.tokens.iter().enumerate() {
                let other = tokens.insert(token.expose_secret(), index).filter(|other| *other != index);
                if let Some(other) = other {
                    let text = format!(
                        "the service {} has the same token; each service needs its own",
                        services[other].name
                    );
                    self.report(table, &format!("tokens[{number}]"), None, text);
                }
            }
        }
        if self.problems.len() == before { Ok(()) } else { Err(Reported) }
    }

    fn endpoints(&mut self) -> Result<Vec<EndpointSettings>, Reported> {
        let endpoints = self.several::<EndpointSettings>("endpoint")?;
        let mut names = BTreeSet::new();
        for (endpoint, table) in endpoints.iter().zip(self.merged.tables("endpoint")) {
            if !names.insert(&endpoint.name) {
                let text = format!("there are two endpoints named {}", endpoint.name);
                self.report(table, "name", None, text);
            }
        }
        Ok(endpoints)
    }

    fn check_timeouts(&mut self) {
        let timeout = |key| self.value("delivery", key, &rules::TIMEOUT);
        if let (Some(connect), Some(whole)) = (timeout("connect_timeout"), timeout("timeout"))
            && connect > whole
        {
            let text = "it is longer than delivery.timeout, of which it is a part: lower delivery.connect_timeout or \
                raise delivery.timeout";
            self.report_value("delivery", "connect_timeout", text);
        }
    }

    fn check_provisioning(&mut self, remotepc: Option<&RemotePcConfig>) {
        let is_on = self.value("provisioning", "mode", &rules::MODE) == Some(ProvisioningMode::On);
        if is_on && remotepc.is_some_and(|remotepc| remotepc.api_key.is_none()) {
            self.report_value("provisioning", "mode", "an invitation requires remotepc.api_key");
        }
    }
}

/// Returns whether a value of `[callback]` or a list means the same as none.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(list) => list.is_empty(),
        Value::Single(text) => text == "false",
        _ => false,
    }
}

/// Returns whether two listeners would claim the same port. Port 0 is a new one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let a = one.ip().to_canonical();
    let b = other.ip().to_canonical();
    one.port() == other.port() && one.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}
