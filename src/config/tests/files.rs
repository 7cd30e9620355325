//! Messages about wrong files and variables.

use rstest::rstest;

use super::{loaded, refused};

/// A file, and the texts of its refusal: the line, the key, and more.
#[rstest]
#[case("[public]\nlisten = \"localhost:80\"", &["remgate.toml:2: public.listen", "\"localhost:80\"", "127.0.0.1:8080"])]
#[case("[public]\nlisten = \"[::1]\"", &["public.listen"])]
#[case("[public]\nurl = \"myservice.com\"", &["public.url", "http://"])]
#[case("[public]\nurl = \"ftp://a\"", &["public.url"])]
#[case("[public]\nurl = \"https://u:PLANTED@a\"", &["public.url", "user information"])]
#[case("[public]\nurl = \"https://a?PLANTED=1\"", &["public.url", "query"])]
#[case("[public]\nurl = \"https://a#b\"", &["public.url"])]
#[case("[public]\ntrusted_proxies = [\"10.0.0.0/33\"]", &["public.trusted_proxies[0]", "203.0.113.0/24"])]
#[case("[public]\ntrusted_proxies = [\"10.0.0.1\",\n\"x\"]", &["remgate.toml:3: public.trusted_proxies[1]"])]
#[case("[public]\ntrusted_proxies = \"10.0.0.1\"", &["found text where a list is expected"])]
#[case("[public]\ncors_origins = [\"https://a/path\"]", &["public.cors_origins[0]", "no path"])]
#[case("[public]\ncors_origins = [\"*\"]", &["public.cors_origins[0]"])]
#[case("[internal]\nlisten = \"127.0.0.1:8080\"", &["internal.listen", "public.listen"])]
#[case("[internal]\nlisten = \"0.0.0.0:8080\"", &["internal.listen", "public.listen"])]
#[case("[internal]\nadmin_key = \"PLANTED-short\"", &["internal.admin_key", "24"])]
#[case("[internal]\nadmin_key = \"PLANTED with spaces in the text\"", &["internal.admin_key"])]
#[case("[database]\nurl = \"postgresx://u:PLANTED@h/d\"", &["database.url", "postgres://"])]
#[case("[database]\nurl = \"postgres://u@h/d?sslpassword=PLANTED\"", &["database.url", "sslpassword", "sslmode"])]
#[case("[database]\nurl = \"postgres://u@h/d?sslmode=PLANTED\"", &["database.url", "verify-full"])]
#[case("[database]\nurl = \"sqlite::memory:\"", &["database.url", "two slashes"])]
#[case("[database]\nurl = \"sqlite://:memory:\"", &["database.url", "durable"])]
#[case("[database]\nurl = \"sqlite://x?mode=memory\"", &["database.url", "durable"])]
#[case("[database]\nurl = \"sqlite://\"", &["database.url"])]
#[case("[database]\nurl = \"mysql://PLANTED@h/d\"", &["database.url"])]
#[case("[database]\nurl = \"postgres://u:PLAN/TED@h/d\"", &["database.url"])]
#[case("[database]\nurl = \"Postgres://u@h/d\"", &["database.url"])]
#[case("[callback]\ntokens = [\"PLANTED-token-short-2\"]", &["callback.tokens[0]", "22", "too short"])]
#[case("[callback]\ntokens = [\"PLANTED-token with a space-0123\"]", &["callback.tokens[0]", "other characters"])]
#[case("[callback]\ntokens = [\"\"]", &["callback.tokens[0]"])]
#[case("[callback]\ntokens = [7777777]", &["callback.tokens[0]", "a whole number"])]
#[case("[callback]\nallow_from = [\"example.com\"]", &["callback.allow_from[0]", "example.com"])]
#[case("[callback]\nallow_unauthenticated = \"yes\"", &["callback.allow_unauthenticated", "true or false"])]
#[case("[callback]\ntoken = [\"PLANTED\"]", &["remgate.toml:2: callback.token", "did you mean `tokens`?"])]
#[case("[delivery]\ntimeout = 15", &["delivery.timeout", "a whole number (15)", "\"5s\""])]
#[case("[delivery]\ntimeout = \"0s\"", &["delivery.timeout"])]
#[case("[delivery]\ntimeout = \"1d\"", &["delivery.timeout", "too long"])]
#[case("[delivery]\ntimeout = \"15\"", &["delivery.timeout", "found \"15\""])]
#[case("[delivery]\ntimeout = \"2s\"\nconnect_timeout = \"3s\"", &["delivery.connect_timeout", "delivery.timeout"])]
#[case("[delivery]\nmax_in_flight = 0", &["delivery.max_in_flight", "1 to 10000"])]
#[case("[delivery]\nmax_in_flight = 99999999999999999999", &["delivery.max_in_flight"])]
#[case("[delivery]\nmax_in_flight = 1.5", &["delivery.max_in_flight", "a number (1.5)"])]
#[case("[delivery]\nmax_in_flight_per_endpoint = -1", &["delivery.max_in_flight_per_endpoint"])]
#[case("[delivery]\nschedule = [\"1s\", \"soon\"]", &["delivery.schedule[1]", "soon"])]
#[case("[delivery]\ndisable_after = \"0d\"", &["delivery.disable_after"])]
#[case("[delivery]\nproxy = \"https://u:PLANTED@p\"", &["delivery.proxy", "socks5://"])]
#[case("[delivery]\nca_file = \"nowhere.pem\"", &["delivery.ca_file", "nowhere.pem", "No such file"])]
#[case("[delivery]\nca_file = \"remgate.toml\"", &["delivery.ca_file", "no certificate"])]
#[case("[delivery]\nallow_private_networks = [\"http://x\"]", &["delivery.allow_private_networks[0]"])]
#[case("[delivery]\nallow_private_networks = [\"10.0.0.0/99\"]", &["delivery.allow_private_networks[0]"])]
#[case("[remotepc]\napi_key = \"PLANTED \u{e9}\"", &["remotepc.api_key"])]
#[case("[remotepc]\nbase_url = \"https://PLANTED@h/\"", &["remotepc.base_url"])]
#[case("[provisioning]\nmode = \"on\"", &["provisioning.mode", "an invitation requires remotepc.api_key"])]
#[case("[provisioning]\nmode = \"dry\"", &["provisioning.mode", "dry_run"])]
#[case("[provisioning]\ncomputers = -1", &["provisioning.computers", "0 to 10000"])]
#[case("[provisioning]\nservices = [\"defualt\"]", &["provisioning.services[0]", "did you mean \"default\"?"])]
#[case("[provisioning]\nschedule = [\"soon\"]", &["provisioning.schedule[0]"])]
#[case("[retention]\nevents = \"0s\"", &["retention.events"])]
#[case("[telemetry]\nlog_format = \"prety\"", &["telemetry.log_format", "did you mean \"pretty\"?"])]
#[case("[telemetry]\nlog_fromat = \"json\"", &["telemetry.log_fromat", "did you mean `log_format`?"])]
#[case("[telemety]\n", &["telemety", "did you mean `telemetry`?"])]
#[case("admin_key = \"PLANTED\"", &["admin_key", "[internal]"])]
#[case("[public]\nadmin_key = \"PLANTED\"", &["public.admin_key", "[internal]"])]
#[case("service = \"PLANTED\"", &["service", "[[service]]"])]
#[case("[service]\nname = \"a\"", &["service", "[[service]]"])]
#[case("internal = \"PLANTED\"", &["internal", "[internal]"])]
#[case("[internal]\nadmin_key = \"PLANTED\nx", &["remgate.toml:2", "not valid TOML"])]
#[case("[internal]\nadmin_key = PLANTED-key-without-quotes", &["remgate.toml:2", "not valid TOML"])]
#[case("[internal]\nadmin_key = \"PLANTED\"\nadmin_key = \"PLANTED\"", &["remgate.toml:3", "duplicate key"])]
fn a_wrong_file_is_refused_with_line_key_and_rule(#[case] toml: &str, #[case] texts: &[&str]) {
    let error = refused(toml);
    for part in texts {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(!error.contains("PLANTED") && !error.contains("PLAN/TED"), "{error}");
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_the_lines() {
    let (result, _dir) = loaded(
        "[retention]\nevents = 1\n[public]\nlisten = \"x\"\nurl = \"y\"",
        &[("REMGATE__DELIVERY__TIMEOUT", "z")],
        &[],
    );
    let error = result.unwrap_err();
    let keys: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    let begins = ["remgate.toml:2: ", "remgate.toml:4: ", "remgate.toml:5: ", "environment variable "];
    assert_eq!(keys.len(), begins.len(), "{keys:?}");
    assert!(keys.iter().zip(begins).all(|(key, begin)| key.starts_with(begin)), "{keys:?}");
}

#[rstest]
#[case("REMGATE__DELIVERY__TIMOUT", "PLANTED", "did you mean REMGATE__DELIVERY__TIMEOUT?")]
#[case("REMGATE__FOO__BAR", "PLANTED", "unknown variable")]
#[case("REMGATE__", "PLANTED", "unknown variable")]
#[case("remgate__public__listen", "PLANTED", "did you mean REMGATE__PUBLIC__LISTEN?")]
#[case("REMGATE__SERVICE__TOKENS", "PLANTED", "in the file only")]
#[case("REMGATE__CALLBACK__ALLOW_UNAUTHENTICATED", "1", "true or false")]
#[case("REMGATE__DELIVERY__MAX_IN_FLIGHT", "many", "1 to 10000")]
#[case("REMGATE__CALLBACK__TOKENS", "PLANTED,PLANTED", "callback.tokens[1]")]
#[case("REMGATE__INTERNAL__ADMIN_KEY", "PLANTED", "internal.admin_key")]
#[case("REMGATE__INTERNAL__ADMIN_KEY_FILE", "/nowhere", "internal.admin_key_file")]
#[case("DATABASE_URL", "mysql://PLANTED@h", "database.url")]
#[case("REMGATE_CONFIG", "/nowhere.toml", "/nowhere.toml")]
fn a_wrong_variable_is_refused_by_name(#[case] name: &str, #[case] value: &str, #[case] expected: &str) {
    let error = loaded("", &[(name, value)], &[]).0.unwrap_err().to_string();
    assert!(error.contains(&format!("environment variable {name}")), "{error}");
    assert!(error.contains(expected) && !error.contains("PLANTED"), "{error}");
}
