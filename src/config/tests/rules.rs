//! Services, endpoints, networks, the access rule and warnings.

use rstest::rstest;

use super::{KEY, OTHER_TOKEN, SECRET, TOKEN, good, loaded, refused};
use crate::config::{AllowedNetwork, Database};

#[rstest]
#[case("", &["default"])]
#[case("[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]", &["a"])]
#[case("[callback]\nallow_from = [\"10.0.0.1\"]\n[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]", &["default", "a"])]
#[case("[callback]\nallow_unauthenticated = true\n[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]", &["default", "a"])]
#[case("[callback]\ntokens = []\n[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]\n[[service]]\nname = \"default\"\ntokens = [\"OTHER\"]", &["default", "a"])]
fn which_services_there_are(#[case] toml: &str, #[case] names: &[&str]) {
    let config = good(&toml.replace("TOKEN", TOKEN).replace("OTHER", OTHER_TOKEN)).config;
    let found: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(found, names);
}

#[rstest]
#[case("[[service]]\nname = \"a\"", "service[0].tokens: a further service needs a token")]
#[case("[[service]]\nname = \"a\"\nallow_from = [\"10.0.0.1\"]", "service[0].tokens")]
#[case("[[service]]\ntokens = [\"TOKEN\"]", "service[0].name: is missing")]
#[case("[[service]]\nname = \"a b\"\ntokens = [\"TOKEN\"]", "service[0].name")]
#[case(
    "[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]\n[[service]]\nname = \"a\"\ntokens = [\"OTHER\"]",
    "service[1].name: there are two"
)]
#[case(
    "[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]\n[[service]]\nname = \"b\"\ntokens = [\"TOKEN\"]",
    "service[1].tokens[0]: the service a has the same token"
)]
#[case(
    "[callback]\ntokens = [\"TOKEN\"]\n[[service]]\nname = \"b\"\ntokens = [\"TOKEN\"]",
    "service[0].tokens[0]: the service default has"
)]
#[case(
    "[callback]\ntokens = [\"TOKEN\"]\n[[service]]\nname = \"default\"\ntokens = [\"OTHER\"]",
    "service[0].name: `default` is the service of [callback]"
)]
fn unusable_services_are_refused(#[case] toml: &str, #[case] expected: &str) {
    let error = refused(&toml.replace("TOKEN", TOKEN).replace("OTHER", OTHER_TOKEN));
    assert!(error.contains(expected) && !error.contains("PLANTED"), "{error}");
}

#[rstest]
#[case("name = \"b\"", "endpoint[0].url: is missing")]
#[case("url = \"https://a/?PLANTED\"", "endpoint[0].name: is missing")]
#[case("secret = \"PLANTED\"", "endpoint[0].secret: found a value")]
#[case("secret_file = \"nowhere\"", "endpoint[0].secret_file: the file nowhere cannot be read")]
#[case("types = [\"remauth.autenticated\"]", "did you mean \"remauth.authenticated\"?")]
#[case("services = [\"portal\"]", "endpoint[0].services[0]: found \"portal\"")]
#[case("format = \"cloudevent\"", "did you mean \"cloudevents\"?")]
#[case("expected = true", "endpoint[0].expected: unknown key")]
#[case("headers = \"PLANTED\"", "endpoint[0].headers: found text")]
#[case("headers = { x-key = 7777777 }", "endpoint[0].headers.x-key: found a whole number")]
#[case("headers = { \"x y\" = \"PLANTED\" }", "endpoint[0].headers: `x y` is not a header's name")]
#[case(
    "headers = { host = \"PLANTED\" }",
    "endpoint[0].headers: the header `host` is not for endpoints to set"
)]
#[case("headers = { x-key = \"PLANTED\\n\" }", "endpoint[0].headers: the value of the header `x-key`")]
#[case("headers = { x-key = \"***\" }", "endpoint[0].headers: `***` is only shown in place of a value")]
#[case("schedule = [\"1s\", \"soon\"]", "endpoint[0].schedule[1]: found \"soon\"")]
#[case("timeout = \"11m\"", "endpoint[0].timeout: found \"11m\"")]
#[case("max_in_flight = 0", "endpoint[0].max_in_flight: found \"0\"")]
#[case("rate_limit = \"50\"", "endpoint[0].rate_limit: found \"50\"")]
#[case("signing_key = \"whsk_PLANTED\"", "endpoint[0].signing_key: found a value")]
#[case("secret = \"SECRET\"\nsecret_file = \"x\"", "both given")]
fn unusable_endpoints_are_refused(#[case] keys: &str, #[case] expected: &str) {
    let error = refused(&format!("[[endpoint]]\n{}", keys.replace("SECRET", SECRET)));
    assert!(error.contains(expected), "{expected:?} is not in {error}");
    assert!(!error.contains("PLANTED") && !error.contains(SECRET), "{error}");
}

#[test]
fn two_endpoints_of_one_name_are_refused() {
    let one = format!("[[endpoint]]\nname = \"a\"\nurl = \"https://a/\"\nsecret = \"{SECRET}\"\n");
    assert_eq!(good(&one).config.endpoints.len(), 1);
    assert!(refused(&one.repeat(2)).contains("remgate.toml:5: endpoint[1].name: there are two"));
}

#[test]
fn networks_may_be_addresses_and_names() {
    let loaded = good("[delivery]\nallow_private_networks = [\"10.1.2.3/8\", \"::1\", \"CRM.internal.\"]");
    let nets = [
        AllowedNetwork::Net("10.0.0.0/8".parse().unwrap()),
        AllowedNetwork::Net("::1/128".parse().unwrap()),
        AllowedNetwork::Host("crm.internal".to_owned()),
    ];
    assert_eq!(loaded.config.delivery.allow_private_networks, nets);
}

#[test]
fn paths_are_relative_to_the_current_directory() {
    let (result, dir) = loaded("[database]\nurl = \"sqlite://data/a%20b.db\"", &[], &[]);
    let Database::Sqlite(path) = result.unwrap().config.database else { panic!("it is SQLite") };
    assert_eq!(path, dir.path().join("data/a b.db"));
}

/// File, number of warnings about open listeners, and result of the access rule.
#[rstest]
#[case("", 2, true)]
#[case("[public]\nlisten = \"[::1]:1\"\n[internal]\nlisten = \"[::ffff:127.0.0.1]:2\"", 2, true)]
#[case("[public]\nlisten = \"0.0.0.0:1\"", 2, false)]
#[case("[public]\nlisten = \"0.0.0.0:1\"\n[callback]\ntokens = [\"TOKEN\"]", 1, true)]
#[case("[public]\nlisten = \"0.0.0.0:1\"\n[callback]\nallow_from = [\"10.0.0.1\"]", 1, true)]
#[case("[public]\nlisten = \"0.0.0.0:1\"\n[callback]\nallow_unauthenticated = true", 2, true)]
#[case("[internal]\nlisten = \"[::]:1\"", 2, false)]
#[case("[internal]\nlisten = \"192.0.2.1:1\"\n[callback]\nallow_unauthenticated = true", 2, false)]
#[case("[internal]\nlisten = \"[::]:1\"\nadmin_key = \"KEY\"", 1, true)]
#[case("[[service]]\nname = \"a\"\ntokens = [\"TOKEN\"]\n[public]\nlisten = \"0.0.0.0:1\"", 1, true)]
fn the_access_rule(#[case] toml: &str, #[case] open: usize, #[case] holds: bool) {
    let config = good(&toml.replace("TOKEN", TOKEN).replace("KEY", KEY)).config;
    assert_eq!(config.open_listeners(false).len(), open);
    assert_eq!(config.check_access(false).is_ok(), holds);
}

#[test]
fn a_stored_key_closes_the_internal_listener() {
    let config = good("[internal]\nlisten = \"0.0.0.0:1\"").config;
    assert!(config.check_access(false).is_err());
    assert!(config.check_access(true).is_ok());
}

#[test]
fn the_refusal_names_every_key_to_set() {
    let error = good("[public]\nlisten = \"0.0.0.0:1\"\n[internal]\nlisten = \"0.0.0.0:2\"")
        .config
        .check_access(false);
    let error = error.unwrap_err().to_string();
    for key in [
        "callback.tokens",
        "callback.tokens_file",
        "callback.allow_from",
        "callback.allow_unauthenticated",
        "internal.admin_key",
        "internal.admin_key_file",
        "public.listen",
        "internal.listen",
    ] {
        assert!(error.contains(key), "{key} is not in {error}");
    }
}

#[rstest]
#[case("[callback]\nallow_unauthenticated = true\nallow_from = [\"10.0.0.1\"]", "still hold")]
#[case("[public]\ntrusted_proxies = [\"0.0.0.0/0\"]", "trusts every address")]
#[case("[public]\nurl = \"http://myservice.com\"", "is http")]
#[case(
    "[[endpoint]]\nname = \"a\"\nurl = \"https://a/\"\nsecret = \"SECRET\"\nformat = \"remauth\"\ntypes = [\"remauth.expired\"]",
    "remauth.expired is never sent"
)]
fn a_doubtful_setting_leads_to_a_warning(#[case] toml: &str, #[case] expected: &str) {
    let warnings = good(&toml.replace("SECRET", SECRET)).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
}

#[test]
fn a_variable_with_too_few_underscores_is_pointed_out() {
    let env = [("REMGATE_PUBLIC_LISTEN", "x"), ("REMGATE_PORT", "tcp://10.0.0.1:1")];
    let refused = loaded("", &env, &[]).0.unwrap_err();
    let message = refused.to_string();
    assert!(
        refused.problems().len() == 1 && message.contains("did you mean REMGATE__PUBLIC__LISTEN?"),
        "{message}"
    );
}

#[rstest]
#[case("REMGATE_CONFG", "did you mean REMGATE_CONFIG?")]
#[case("REMGATE_PUBLC_LISTEN", "did you mean REMGATE__PUBLIC__LISTEN?")]
#[case("remgate_public_listen", "did you mean REMGATE__PUBLIC__LISTEN?")]
#[case("REMGATE_SOMETHING_ELSE_ENTIRELY", "unknown variable")]
fn unknown_variables_are_refused(#[case] name: &str, #[case] expected: &str) {
    let refused = loaded("", &[(name, "x")], &[]).0.unwrap_err().to_string();
    assert!(refused.contains(name) && refused.contains(expected), "{refused}");
}

#[rstest]
#[case("REMGATE_SERVICE_HOST")]
#[case("REMGATE_SERVICE_PORT")]
#[case("REMGATE_SERVICE_PORT_HTTP")]
#[case("REMGATE_INTERNAL_SERVICE_HOST")]
#[case("REMGATE_PORT")]
#[case("REMGATE_PORT_8080_TCP")]
#[case("REMGATE_PORT_8080_TCP_ADDR")]
#[case("REMGATE_INTERNAL_PORT_8081_TCP_PROTO")]
fn variables_of_kubernetes_are_left_alone(#[case] name: &str) {
    assert!(loaded("", &[(name, "tcp://10.0.0.1:1")], &[]).0.unwrap().warnings.is_empty());
}

#[rstest]
#[case("delivery.timeout = \"2s\"", "2s", "2s")]
#[case("delivery.connect_timeout = \"20s\"", "20s", "20s")]
#[case("delivery.connect_timeout = \"1s\"", "1s", "15s")]
fn a_default_gives_way_to_what_was_set(#[case] toml: &str, #[case] connect: &str, #[case] whole: &str) {
    let loaded = good(toml);
    let shown = |key: &str| loaded.effective.iter().find(|found| found.key == key).unwrap().value.clone();
    assert_eq!(
        (shown("delivery.connect_timeout"), shown("delivery.timeout")),
        (connect.into(), whole.into())
    );
    assert!(loaded.config.delivery.connect_timeout <= loaded.config.delivery.timeout);
}

#[test]
fn two_set_timeouts_that_exclude_each_other_are_both_named() {
    let message = refused("delivery.timeout = \"2s\"\ndelivery.connect_timeout = \"3s\"");
    assert!(message.contains("lower delivery.connect_timeout or raise delivery.timeout"), "{message}");
}

#[rstest]
#[case("retention.events = \"9d\"", "retention.events")]
#[case("telemetry.otlp_endpoint = \"http://c:4318\"", "telemetry.otlp_endpoint")]
fn keys_without_effect_warn(#[case] toml: &str, #[case] key: &str) {
    assert_eq!(good(toml).warnings, [format!("{key} is set, but has no effect in this version")]);
}

#[rstest]
#[case("verbose", false)]
#[case("info,remgate=loud", false)]
#[case("debug,verbose", false)]
#[case("", true)]
#[case("info", true)]
#[case("INFO,remgate::dispatch=debug", true)]
#[case("remgate", true)]
#[case("off", true)]
fn an_unusable_log_filter_is_refused(#[case] filter: &str, #[case] usable: bool) {
    let (result, _dir) = loaded("", &[("RUST_LOG", filter)], &[]);
    match result {
        Ok(_) => assert!(usable, "{filter}"),
        Err(e) => assert!(!usable && e.to_string().contains("RUST_LOG"), "{e}"),
    }
}

#[rstest]
#[case("database", "url", "postgres://u:PLANTED@h/d?sslmode=require", "postgres://u:***@h/d?sslmode=require")]
#[case("database", "url", "postgres://u@h/d?password=PLANTED", "postgres://u@h/d?password=***")]
#[case("delivery", "proxy", "http://u:PLANTED@h:1", "http://***:***@h:1/")]
#[case("delivery", "proxy", "socks5://PLANTED@h:1", "socks5://***@h:1")]
fn urls_are_shown_without_their_secrets(
    #[case] section: &str,
    #[case] key: &str,
    #[case] value: &str,
    #[case] shown: &str,
) {
    let loaded = good(&format!("[{section}]\n{key} = \"{value}\""));
    let path = format!("{section}.{key}");
    assert_eq!(loaded.effective.iter().find(|value| value.key == path).unwrap().value, shown);
}

#[test]
fn an_endpoint_may_have_settings_of_its_own() {
    let toml = "[[endpoint]]\nname = \"a\"\nurl = \"https://a/\"\nsecret = \"SECRET\"\n\
        headers = { X-Key = \"PLANTED\" }\nschedule = [\"5s\", \"1m\"]\ntimeout = \"3s\"\nmax_in_flight = 2\n\
        rate_limit = \"10/m\"\nsigning_key = \"whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n\
        [[endpoint]]\nname = \"b\"\nurl = \"https://b/\"\nsecret = \"SECRET\"\nschedule = []";
    let loaded = good(&toml.replace("SECRET", SECRET));
    let [a, b] = &loaded.config.endpoints[..] else { panic!("two endpoints") };
    assert_eq!(a.sending.headers.names().collect::<Vec<_>>(), ["x-key"]);
    assert_eq!(a.sending.schedule.as_ref().unwrap().waits().len(), 2);
    assert_eq!(a.sending.timeout.unwrap().get().as_secs(), 3);
    assert_eq!(a.sending.max_in_flight.unwrap().get(), 2);
    assert_eq!(a.sending.rate_limit.unwrap().to_string(), "10/m");
    assert!(a.sending.signing_key.is_some());
    assert_eq!(
        b.sending.schedule.as_ref().map(|schedule| schedule.waits().len()),
        Some(0),
        "one attempt only"
    );
    assert!(b.sending.timeout.is_none() && b.sending.max_in_flight.is_none());
    let shown = loaded.effective.iter().find(|value| value.key == "endpoint[0].headers").unwrap();
    assert_eq!(shown.value, serde_json::json!({"X-Key": "***"}));
    let all = format!("{loaded:?}");
    assert!(!all.contains("PLANTED") && !all.contains("AAECAw"), "{all}");
}

#[rstest]
#[case("::ffff:203.0.113.0/120", "203.0.113.0/24")]
#[case("::ffff:203.0.113.9", "203.0.113.9/32")]
#[case("::ffff:203.0.113.9/128", "203.0.113.9/32")]
#[case("::ffff:0:0/96", "0.0.0.0/0")]
#[case("::/0", "::/0")]
#[case("2001:db8::/32", "2001:db8::/32")]
#[case("::1:0:0/96", "::1:0:0/96")]
fn ipv4_mapped_networks_become_ipv4_networks(#[case] written: &str, #[case] meant: &str) {
    for key in ["public.trusted_proxies", "callback.allow_from", "delivery.allow_private_networks"] {
        let loaded = good(&format!("{key} = [\"{written}\"]"));
        let found = match key {
            "public.trusted_proxies" => loaded.config.public.trusted_proxies[0].to_string(),
            "callback.allow_from" => loaded.config.services[0].allow_from[0].to_string(),
            _ => match &loaded.config.delivery.allow_private_networks[0] {
                AllowedNetwork::Net(net) => net.to_string(),
                AllowedNetwork::Host(name) => panic!("a host name: {name}"),
            },
        };
        assert_eq!(found, meant, "{key}");
    }
}

#[rstest]
#[case("::ffff:0:0/95")]
#[case("::/64")]
fn networks_around_the_ipv4_mapped_addresses_are_refused(#[case] written: &str) {
    let message = refused(&format!("callback.allow_from = [\"{written}\"]"));
    assert!(message.contains("write the IPv4 networks that are meant"), "{message}");
}
