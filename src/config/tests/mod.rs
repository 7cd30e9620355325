//! The module from its public interface: sources in, configuration or problems out.

mod files;
mod layers;
mod panics;
mod rules;

use std::time::Duration;

use tempfile::TempDir;

use super::sections::SECTIONS;
use super::{Config, ConfigError, DEFAULTS, Database, Loaded, Sources};

const TOKEN: &str = "PLANTED-token-0123456789abc";
const OTHER_TOKEN: &str = "PLANTED-other-0123456789abc";
const KEY: &str = "PLANTED-admin-key-0123456789";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn loaded(
    toml: &str,
    env: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> (Result<Loaded, ConfigError>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("remgate.toml"), toml).unwrap();
    (loaded_in(&dir, env, flags), dir)
}

fn loaded_in(dir: &TempDir, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    Config::load(&Sources {
        search: vec!["remgate.toml".into()],
        env: owned(env),
        flags: owned(flags),
        current_dir: dir.path().into(),
        ..Sources::default()
    })
}

fn good(toml: &str) -> Loaded {
    loaded(toml, &[], &[]).0.unwrap_or_else(|error| panic!("{toml}\n{error}"))
}

fn refused(toml: &str) -> String {
    loaded(toml, &[], &[]).0.expect_err(toml).to_string()
}

fn layer(loaded: &Loaded, key: &str) -> String {
    let found = loaded.effective.iter().find(|value| value.key == key);
    found.unwrap_or_else(|| panic!("{key} is not shown")).layer.clone()
}

#[test]
fn the_file_of_defaults_equals_an_empty_file() {
    let (from_file, dir) = loaded(DEFAULTS, &[], &[]);
    let from_nothing = {
        std::fs::write(dir.path().join("remgate.toml"), "").unwrap();
        loaded_in(&dir, &[], &[]).unwrap()
    };
    let from_file = from_file.unwrap();
    assert_eq!(format!("{:#?}", from_file.config), format!("{:#?}", from_nothing.config));
    assert_eq!(from_nothing.warnings, Vec::<String>::new());
    let delivery = &from_nothing.config.delivery;
    assert_eq!(delivery.schedule.len(), 12);
    assert_eq!(delivery.disable_after, Duration::from_hours(5 * 24));
    assert_eq!((delivery.max_in_flight, delivery.max_in_flight_per_endpoint), (256, 16));
    assert_eq!(from_nothing.config.services.len(), 1);
    assert_eq!(from_nothing.config.public.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn the_file_of_defaults_has_every_key_once_with_a_comment_above() {
    let lines: Vec<_> = DEFAULTS.lines().collect();
    for section in SECTIONS.iter() {
        let (head, mark) = if section.repeated {
            (format!("# [[{}]]", section.name), "# ")
        } else {
            (format!("[{}]", section.name), "")
        };
        let start = lines.iter().position(|line| *line == head).unwrap_or_else(|| panic!("no {head}"));
        let body: Vec<_> = lines[start..].iter().take_while(|line| !line.is_empty()).collect();
        for key in section.values() {
            let begin = format!("{mark}{} = ", key.name);
            let at: Vec<_> = (0..body.len()).filter(|n| body[*n].starts_with(&begin)).collect();
            assert_eq!(at.len(), 1, "{}.{}", section.name, key.name);
            assert!(body[at[0] - 1].starts_with(&format!("{mark}# ")), "{} has no comment", key.name);
            let variant = section.find(&format!("{}_file", key.name));
            let is_named = variant.is_none_or(|variant| body[at[0] - 1].contains(&variant.name));
            assert!(is_named, "{} hides its _file variant", key.name);
        }
    }
}

#[test]
fn the_examples_in_the_file_of_defaults_are_true() {
    let uncommented = |line: &'static str| {
        let example = line.strip_prefix("# ").filter(|rest| {
            rest.starts_with("[[") || rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
        });
        format!("{}\n", example.unwrap_or(line))
    };
    let toml: String = DEFAULTS.lines().map(uncommented).collect();
    let toml =
        toml.replace(r#""...""#, &format!("{TOKEN:?}")).replace(r#""whsec_...""#, &format!("{SECRET:?}"));
    let config = good(&toml).config;
    assert_eq!(config.services[0].name.as_str(), "portal");
    assert_eq!(config.endpoints[0].name.as_str(), "crm");
}

#[test]
fn the_reference_names_every_key_file_variant_and_variable() {
    let reference = include_str!("../../../docs/reference/configuration.md");
    for section in SECTIONS.iter() {
        for name in section.names() {
            let row = if section.repeated {
                format!("| `{name}` |")
            } else {
                format!("| `{}.{name}` |", section.name)
            };
            assert!(reference.contains(&row), "{row}");
            let variable = section.variable(crate::config::origin::PREFIX, name);
            assert_eq!(reference.contains(&format!("`{variable}`")), !section.repeated, "{variable}");
        }
    }
}

#[test]
fn the_worked_example_loads_and_keeps_the_access_rule() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().display().to_string();
    let toml = include_str!("../../../config/production.toml").replace("/run/secrets", &secrets);
    std::fs::write(dir.path().join("remgate.toml"), toml).unwrap();
    for (name, content) in [
        ("remgate_admin_key", format!("{KEY}\n")),
        ("remgate_database_url", "postgres://remgate:PLANTED@db.internal/remgate\n".to_owned()),
        ("remgate_callback_tokens", format!("{TOKEN}\n{OTHER_TOKEN}\n")),
        ("remgate_crm_secret", format!("{SECRET}\r\n")),
        ("remgate_remotepc_key", "PLANTED-api-key".to_owned()),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let loaded = loaded_in(&dir, &[], &[]).unwrap();
    assert!(loaded.config.check_access(false).is_ok());
    assert_eq!(loaded.config.services[0].tokens.len(), 2);
    assert!(matches!(loaded.config.database, Database::Postgres(_)));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(
        layer(&loaded, "internal.admin_key"),
        format!("internal.admin_key_file {secrets}/remgate_admin_key")
    );
    assert!(!format!("{loaded:?}").contains("PLANTED"), "{loaded:?}");
    assert!(!format!("{:?}", loaded.effective).contains("MfKQ9r8"));
}
