//! The container files: what they must have for a safe start, and that what they set exists.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("compose.yaml")).expect("compose.yaml is YAML")
}

/// The Dockerfile's instructions, without comments, each on one line.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect()
}

/// The instructions of the last stage: what is in the image.
fn runtime() -> Vec<String> {
    let all = instructions();
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).expect("there is a stage");
    all[last..].to_vec()
}

fn words(value: &Value) -> BTreeSet<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item.as_str().expect("a word").to_owned()).collect()
}

#[test]
fn the_image_runs_without_rights_and_looks_after_itself() {
    let runtime = runtime();
    for expected in [
        "FROM gcr.io/distroless/cc-debian12:nonroot",
        "COPY --from=build --chown=65532:65532 /out/data /data",
        "USER 65532:65532",
        "WORKDIR /data",
        r#"VOLUME ["/data"]"#,
        "EXPOSE 8080 8081",
        r#"ENTRYPOINT ["/usr/local/bin/remgate"]"#,
    ] {
        assert!(runtime.iter().any(|line| line == expected), "`{expected}` is missing in {runtime:#?}");
    }
    let check = runtime.iter().find(|line| line.starts_with("HEALTHCHECK ")).expect("a health check");
    assert!(check.ends_with(r#"CMD ["/usr/local/bin/remgate", "healthcheck"]"#), "{check}");
}

/// As old as the runtime image's libc, as new as the code asks for, and nothing that an old builder cannot read.
#[test]
fn the_image_is_built_where_it_will_run() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let rust = manifest["package"]["rust-version"].as_str().expect("a version");
    let all = instructions();
    assert_eq!(all[0], format!("FROM docker.io/library/rust:{rust}-bookworm AS build"));
    assert!(!all.iter().any(|line| line.contains("--link") || line.contains("<<")), "{all:#?}");
}

#[test]
fn there_is_a_variant_for_each_engine() {
    let compose = compose();
    let services = &compose["services"];
    assert_eq!(services["remgate"]["profiles"], Value::Null, "SQLite is what comes without asking");
    assert_eq!(services["remgate"]["volumes"], json!(["remgate-data:/data"]));
    assert_eq!(services["remgate"]["environment"]["REMGATE__DATABASE__URL"], "sqlite:///data/remgate.db");
    for name in ["remgate-postgres", "postgres"] {
        assert_eq!(services[name]["profiles"], json!(["postgres"]), "{name}");
    }
    let waits_for = &services["remgate-postgres"]["depends_on"]["postgres"]["condition"];
    assert_eq!(waits_for, "service_healthy");
    assert_eq!(services["postgres"]["ports"], Value::Null, "the database is not for others");
    assert_eq!(compose["networks"]["database"]["internal"], true);
}

#[test]
fn every_service_is_hardened() {
    for (name, service) in compose()["services"].as_object().expect("services") {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["healthcheck"]["test"][0], "CMD", "{name}: there is no shell in the image");
        assert_eq!(service["privileged"], Value::Null, "{name}");
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is published on every interface");
        }
    }
}

#[test]
fn secrets_are_files() {
    let compose = compose();
    let secrets = compose["secrets"].as_object().expect("secrets");
    assert!(
        secrets.values().all(|secret| secret["file"].as_str().is_some_and(|f| f.starts_with("./secrets/")))
    );
    for (name, service) in compose["services"].as_object().expect("services") {
        let given = words(&service["secrets"]);
        assert!(given.iter().all(|secret| secrets.contains_key(secret)), "{name}: {given:?}");
        for (variable, value) in service["environment"].as_object().expect("variables") {
            let value = value.as_str().expect("text");
            match value.strip_prefix("/run/secrets/") {
                Some(secret) => {
                    assert!(variable.ends_with("_FILE") && given.contains(secret), "{name}: {variable}");
                }
                None => assert!(!holds_a_secret(variable, value), "{name}: {variable} belongs into a file"),
            }
        }
    }
    assert!(read(".gitignore").lines().any(|line| line == "/secrets/"));
    assert!(read(".dockerignore").lines().any(|line| line == "/secrets"));
}

fn holds_a_secret(variable: &str, value: &str) -> bool {
    let telling = ["TOKEN", "KEY", "PASSWORD", "SECRET"].iter().any(|word| variable.contains(word));
    let is_public = variable == "REMGATE__PUBLIC__URL";
    telling || (variable.ends_with("URL") && !is_public && !value.starts_with("sqlite:"))
}

#[test]
fn every_variable_is_a_key_of_the_configuration() {
    let config: toml::Table = read("config/remgate.toml").parse().expect("config/remgate.toml is TOML");
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let in_compose = services.values().filter_map(|service| service["environment"].as_object());
    let in_compose = in_compose.flat_map(|variables| variables.keys().cloned());
    let in_image = runtime().into_iter().filter(|line| line.starts_with("ENV "));
    let in_image = in_image.flat_map(|line| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>());
    let in_image = in_image.filter_map(|pair| pair.split_once('=').map(|(name, _)| name.to_owned()));
    // Stronger variables would win over a mounted file.
    let in_image: Vec<_> = in_image.collect();
    assert!(
        !in_image.is_empty() && in_image.iter().all(|name| name.starts_with("REMGATE_DEFAULT__")),
        "{in_image:?}"
    );
    let ours: BTreeSet<_> = in_compose.filter(|name| name.starts_with("REMGATE__")).chain(in_image).collect();
    assert!(ours.len() >= 5, "{ours:?}");
    for variable in ours {
        assert!(is_key(&config, &variable), "{variable} is no key of config/remgate.toml");
    }
}

/// Returns whether the key of the variable `REMGATE__SECTION__KEY`, or of its `_FILE` variant, is in `config`.
fn is_key(config: &toml::Table, variable: &str) -> bool {
    let path = variable.to_ascii_lowercase();
    let mut steps = path.split("__").skip(1);
    let (Some(section), Some(key), None) = (steps.next(), steps.next(), steps.next()) else { return false };
    let known = |key: &str| config.get(section).and_then(|section| section.get(key)).is_some();
    known(key) || key.strip_suffix("_file").is_some_and(known)
}

#[test]
fn a_variable_that_is_no_key_is_seen() {
    let config: toml::Table = "[database]\nurl = ''".parse().unwrap();
    assert!(is_key(&config, "REMGATE__DATABASE__URL") && is_key(&config, "REMGATE__DATABASE__URL_FILE"));
    for wrong in
        ["REMGATE__DATABASE__URI", "REMGATE__STORE__URL", "REMGATE__DATABASE", "REMGATE__DATABASE__URL__X"]
    {
        assert!(!is_key(&config, wrong), "{wrong}");
    }
}
