//! No file and no environment leads to a panic.

use proptest::prelude::*;

use crate::config::key::Section;
use crate::config::sections::SECTIONS;
use crate::config::{Config, ConfigError, DEFAULTS, Sources, build, file, merge, show};

/// Text that comes near to a configuration.
fn near_toml() -> impl Strategy<Value = String> {
    let names: Vec<&str> = SECTIONS.iter().flat_map(Section::names).collect();
    let heads: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| [format!("[{}]", section.name), format!("[[{}]]", section.name)])
        .collect();
    let value = prop_oneof![
        Just("\"\"".to_owned()),
        Just("[]".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "\\[\"[ -!#-\\[\\]-~]{0,30}\"\\]",
        "\"[ -!#-\\[\\]-~]{0,30}\"",
        "\"(https?|postgres|sqlite|socks5)://[ -!#-\\[\\]-~]{0,12}\"",
        "[ -~]{0,10}",
    ];
    let line = prop_oneof![
        prop::sample::select(heads),
        (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_leads_to_a_panic(text in prop_oneof![near_toml(), any::<String>()]) {
        let mut problems = Vec::new();
        let layers = vec![
            file::read(DEFAULTS, None, &mut problems),
            file::read(&text, Some("remgate.toml".as_ref()), &mut problems),
        ];
        let dir = std::path::Path::new("/nowhere");
        let merged = merge::merge(layers, dir, &mut problems);
        let config = build::build(&merged, dir, &mut problems);
        let _ = show::effective(&merged);
        prop_assert!(config.is_ok() || !problems.is_empty(), "refused without a reason");
        let _ = ConfigError::new(problems).to_string();
    }

    #[test]
    fn no_environment_leads_to_a_panic(
        env in prop::collection::vec(("(REMGATE__|remgate__)(PUBLIC|DATABASE|CALLBACK|.{0,9})__(LISTEN|URL|TOKENS|.{0,9})", ".{0,40}"), 0..5),
        url in any::<String>(),
    ) {
        let mut env = env;
        env.push(("DATABASE_URL".to_owned(), url));
        let _ = Config::load(&Sources { env, ..Sources::default() });
    }
}
