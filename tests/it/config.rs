//! The configuration, through the binary: exit codes, what is said, and what is never said.

use std::fs;
use std::process::{Command, Output};

use rstest::rstest;
use tempfile::TempDir;

/// A directory to run remgate in, with nothing of this machine's environment.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    env: Vec<(String, String)>,
}

/// Result of a run.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().expect("failed to create a temporary directory"), env: Vec::new() }
    }

    /// With a `remgate.toml`.
    pub(crate) fn with(toml: &str) -> Self {
        let place = Self::empty();
        place.write("remgate.toml", toml);
        place
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("the directory is ours");
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remgate"));
        command.args(args).current_dir(&self.dir).env_clear().envs(self.env.iter().cloned());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(args).output().expect("the binary is there");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Ran { code: status.code().expect("no signal ends it"), out: text(stdout), err: text(stderr) }
    }
}

const TOKEN: &str = "PLANTED-token-0123456789abc";
const KEY: &str = "PLANTED-admin-key-0123456789";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[rstest]
#[case("[delivery]\ntimout = \"5s\"", &["remgate.toml:2", "delivery.timout", "did you mean `timeout`?"])]
#[case("[delivery]\ntimeout = 5", &["remgate.toml:2", "delivery.timeout", "a whole number (5)", "\"5s\""])]
#[case("[delivery]\ntimeout = \"0s\"", &["delivery.timeout", "found \"0s\"", "longer than nothing"])]
#[case("[dilivery]", &["remgate.toml:1", "did you mean `delivery`?"])]
#[case("[internal]\nadmin_key = PLANTED", &["remgate.toml:2", "not valid TOML"])]
#[case("[internal]\nadmin_key = \"PLANTED", &["remgate.toml:2", "not valid TOML"])]
#[case("[internal]\nadmin_key = \"PLANTED\"", &["remgate.toml:2", "internal.admin_key", "24"])]
#[case("[callback]\ntokens = [\"PLANTED\"]", &["callback.tokens[0]", "22"])]
#[case("[callback]\ntokens = [\"PLANTED-token-0123456789abc\"]\n[[service]]\nname = \"a\"\ntokens = [\"PLANTED-token-0123456789abc\"]",
       &["remgate.toml:3", "service[0].tokens[0]", "same token"])]
#[case("[database]\nurl = \"postgresx://u:PLANTED@h/d\"", &["database.url", "postgres"])]
#[case("[database]\nurl = \"postgres://u:PLANTED@h/d?sslmode=require&channel_binding=require\"", &["database.url", "channel_binding", "sslmode=verify-full"])]
#[case("[database]\nurl = \"postgres://u:PLANTED@h/d?pgbouncer=true\"", &["database.url", "session mode"])]
#[case("[database]\nurl = \"jdbc:postgresql://u:PLANTED@h/d\"", &["database.url", "remove `jdbc:`"])]
#[case("[database]\nurl = \"host=h user=u password=PLANTED dbname=d\"", &["database.url", "write a URL"])]
#[case("[delivery]\nproxy = \"ftp://u:PLANTED@h\"", &["delivery.proxy", "socks5://"])]
#[case("[remotepc]\napi_key = [\"PLANTED\"]", &["remotepc.api_key", "found a list"])]
#[case("[[endpoint]]\nname = \"a\"\nurl = \"https://PLANTED@a/\"\nsecret = \"PLANTED\"", &["endpoint[0].url", "endpoint[0].secret", "remgate.toml:4"])]
#[case("[internal]\nadmin_key = \"PLANTED\"\nadmin_key_file = \"x\"", &["internal.admin_key_file", "both given"])]
#[case("[internal]\nadmin_key_file = \"nowhere\"", &["internal.admin_key_file", "nowhere", "cannot be read"])]
fn an_unusable_file_ends_with_78_and_says_where_and_why(#[case] toml: &str, #[case] said: &[&str]) {
    let place = Place::with(toml);
    for command in
        [&["serve"][..], &[], &["config", "check"], &["config", "show"], &["migrate"], &["healthcheck"]]
    {
        let ran = place.run(command);
        assert_eq!(ran.code, 78, "{command:?}: {}", ran.err);
        assert_eq!(ran.out, "");
        for part in said {
            assert!(ran.err.contains(part), "{part:?} is not in {}", ran.err);
        }
        assert!(!ran.err.contains("PLANTED"), "{}", ran.err);
    }
}

#[rstest]
#[case("REMGATE__FOO__BAR", "REMGATE__FOO__BAR")]
#[case("REMGATE__INTERNAL__ADMIN_KEI", "did you mean REMGATE__INTERNAL__ADMIN_KEY?")]
#[case("REMGATE__INTERNAL__ADMIN_KEY", "internal.admin_key")]
#[case("REMGATE__INTERNAL__ADMIN_KEY_FILE", "internal.admin_key_file")]
#[case("REMGATE__CALLBACK__TOKENS", "callback.tokens[0]")]
#[case("DATABASE_URL", "database.url")]
fn an_unusable_variable_ends_with_78_by_name(#[case] name: &str, #[case] said: &str) {
    let ran = Place::empty().env(name, "PLA\u{4e}TED/x").run(&["config", "check"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains(name) && ran.err.contains(said), "{}", ran.err);
    let is_path = name.ends_with("_FILE");
    assert_eq!(ran.err.contains("PLANTED"), is_path, "{}", ran.err);
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let flag = Place::empty().run(&["config", "check", "--config", "nowhere.toml"]);
    assert!(flag.code == 78 && flag.err.contains("nowhere.toml"), "{}", flag.err);
    let variable = Place::empty().env("REMGATE_CONFIG", "nowhere.toml").run(&["config", "check"]);
    assert!(variable.code == 78 && variable.err.contains("REMGATE_CONFIG"), "{}", variable.err);
}

#[test]
fn a_flag_names_the_file_before_the_environment_before_the_directory() {
    let place = Place::with("[retention]\nevents = \"1d\"").env("REMGATE_CONFIG", "two.toml");
    place.write("two.toml", "[retention]\nevents = \"2d\"");
    place.write("three.toml", "[retention]\nevents = \"3d\"");
    let shown = |args: &[&str]| place.run(&[&["config", "show", "--json"], args].concat()).out;
    let events = |text: &str| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["values"]["retention.events"].clone()
    };
    assert_eq!(events(&shown(&["--config", "three.toml"]))["layer"], "file three.toml");
    assert_eq!(events(&shown(&[]))["value"], "2d");
    let place = Place { env: Vec::new(), ..place };
    assert_eq!(events(&place.run(&["config", "show", "--json"]).out)["layer"], "file remgate.toml");
}

#[test]
fn what_is_in_effect_is_shown_with_its_layer_and_without_secrets() {
    let place = Place::with(&format!(
        "[internal]\nadmin_key_file = \"key\"\n[callback]\ntokens = [\"{TOKEN}\"]\n[retention]\naudit = \"9d\"\n\
         [[endpoint]]\nname = \"crm\"\nurl = \"https://crm.example/?PLANTED\"\nsecret = \"{SECRET}\"\n"
    ))
    .env("REMGATE__DATABASE__URL", "postgres://u:PLANTED@h/d")
    .env("REMGATE__REMOTEPC__API_KEY", "PLANTED-api");
    place.write("key", &format!("{KEY}\n"));
    let ran = place.run(&["config", "show", "--public-listen", "127.0.0.1:9"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for (key, value, layer) in [
        ("public.listen", "\"127.0.0.1:9\"", "flag --public-listen"),
        ("internal.listen", "\"127.0.0.1:8081\"", "default"),
        ("internal.admin_key", "\"***\"", "internal.admin_key_file key"),
        ("database.url", "\"postgres://u:***@h/d\"", "environment REMGATE__DATABASE__URL"),
        ("callback.tokens", "[\"***\"]", "file remgate.toml"),
        ("endpoint[0].secret", "\"***\"", "file remgate.toml"),
        ("endpoint[0].format", "\"standard\"", "default"),
        ("remotepc.api_key", "\"***\"", "environment REMGATE__REMOTEPC__API_KEY"),
        ("retention.audit", "\"9d\"", "file remgate.toml"),
    ] {
        let begin = format!("{key} = {value} ");
        let line = ran.out.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("no {begin:?} in\n{}", ran.out));
        assert!(line.ends_with(&format!("   # {layer}")), "{line}");
    }
    let json = place.run(&["config", "show", "--json"]);
    let parsed: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(parsed["values"]["internal.admin_key"]["value"], "***");
    assert_eq!(parsed["file"], "remgate.toml");
    for text in [ran.out, json.out] {
        assert!(!text.contains("PLANTED") && !text.contains("MfKQ9r8"), "{text}");
    }
}

#[test]
fn the_default_file_is_printed_and_changes_nothing() {
    let place = Place::empty();
    let printed = place.run(&["config", "default"]).out;
    assert_eq!(printed, include_str!("../../config/remgate.toml"));
    let values = |place: &Place| -> Vec<(String, serde_json::Value)> {
        let shown = place.run(&["config", "show", "--json"]).out;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["values"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v["value"].clone())).collect()
    };
    let from_nothing = values(&place);
    place.write("remgate.toml", &printed);
    assert_eq!(values(&place), from_nothing);
}

#[test]
fn a_good_configuration_is_ok_with_its_doubts_on_stderr() {
    let ran = Place::with("[public]\ntrusted_proxies = [\"::/0\"]").run(&["config", "check"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "OK (remgate.toml)\n"));
    for doubt in [
        "trusts every address",
        "the public listener on 127.0.0.1:8080",
        "the internal listener on 127.0.0.1:8081",
    ] {
        assert!(ran.err.contains(doubt), "{}", ran.err);
    }
}

/// `config check` warns of the same that `serve` warns of, and `config show` tells what is in effect for an endpoint.
#[test]
fn an_endpoint_is_shown_and_checked_as_it_will_be_used() {
    let place = Place::with(&format!(
        "[delivery]\ntimeout = \"9s\"\n[[endpoint]]\nname = \"crm\"\nurl = \"http://10.0.0.7/\"\nsecret = \"{SECRET}\"\n\
         max_in_flight = 3\n"
    ));
    let checked = place.run(&["config", "check"]);
    assert_eq!(checked.code, 0);
    assert!(
        checked.err.contains("warning: nothing is delivered to the endpoint crm: 10.0.0.7"),
        "{}",
        checked.err
    );
    let shown = place.run(&["config", "show"]).out;
    for (key, value, layer) in [
        ("timeout", "\"9s\"", "delivery.timeout, file remgate.toml"),
        ("schedule", "[\"1s\",", "delivery.schedule, default"),
        ("max_in_flight", "3", "file remgate.toml"),
    ] {
        let begin = format!("endpoint[0].{key} = {value}");
        let line = shown.lines().find(|line| line.starts_with(&begin));
        assert!(line.is_some_and(|line| line.ends_with(layer)), "{begin} {layer} in\n{shown}");
    }
}

#[rstest]
#[case("[public]\nlisten = \"0.0.0.0:0\"", &["public.listen", "callback.tokens", "callback.allow_from", "callback.allow_unauthenticated"], &["internal.admin_key"])]
#[case("[internal]\nlisten = \"[::]:0\"", &["internal.listen", "internal.admin_key"], &["callback.tokens"])]
#[case("[public]\nlisten = \"0.0.0.0:0\"\n[internal]\nlisten = \"0.0.0.0:0\"", &["callback.tokens", "internal.admin_key"], &[])]
fn open_doors_on_the_network_end_with_78_and_name_the_keys(
    #[case] toml: &str,
    #[case] said: &[&str],
    #[case] unsaid: &[&str],
) {
    for command in [&[][..], &["serve"], &["config", "check"]] {
        let ran = Place::with(toml).run(command);
        assert_eq!(ran.code, 78, "{}", ran.err);
        assert!(said.iter().all(|key| ran.err.contains(key)), "{}", ran.err);
        assert!(!unsaid.iter().any(|key| ran.err.contains(key)), "{}", ran.err);
    }
}

#[test]
fn listeners_with_keys_may_face_the_network() {
    let toml = format!(
        "[public]\nlisten = \"0.0.0.0:0\"\n[internal]\nlisten = \"0.0.0.0:0\"\nadmin_key = \"{KEY}\"\n\
         [callback]\ntokens = [\"{TOKEN}\"]"
    );
    let ran = Place::with(&toml).run(&["config", "check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
