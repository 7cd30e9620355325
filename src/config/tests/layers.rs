//! Precedence and names of layers.

use rstest::rstest;

use super::{KEY, layer, loaded, loaded_in};

#[test]
fn later_layers_win_and_are_named() {
    let env = [("REMGATE__PUBLIC__LISTEN", "127.0.0.1:2"), ("REMGATE__INTERNAL__LISTEN", "127.0.0.1:3")];
    let toml = "[public]\nlisten = \"127.0.0.1:1\"\n[retention]\naudit = \"9d\"";
    let (result, _dir) = loaded(toml, &env, &[("public.listen", "127.0.0.1:4")]);
    let loaded = result.unwrap();
    assert_eq!(loaded.config.public.listen.port(), 4);
    assert_eq!(layer(&loaded, "public.listen"), "flag --public-listen");
    assert_eq!(layer(&loaded, "internal.listen"), "environment REMGATE__INTERNAL__LISTEN");
    assert_eq!(layer(&loaded, "retention.audit"), "file remgate.toml");
    assert_eq!(layer(&loaded, "retention.events"), "default");
}

#[test]
fn packaged_defaults_lose_to_every_layer_but_the_built_in_one() {
    let packaged = ("REMGATE_DEFAULT__PUBLIC__LISTEN", "0.0.0.0:8080");
    let database = ("REMGATE_DEFAULT__DATABASE__URL", "sqlite:///data/a.db");
    let alone = loaded("", &[packaged, database], &[]).0.unwrap();
    assert_eq!(layer(&alone, "public.listen"), "packaged default REMGATE_DEFAULT__PUBLIC__LISTEN");
    assert_eq!(alone.config.public.listen.to_string(), "0.0.0.0:8080");
    for (toml, variables, by) in [
        ("[public]\nlisten = \"127.0.0.1:1\"", vec![packaged], "file remgate.toml"),
        (
            "",
            vec![packaged, ("REMGATE__PUBLIC__LISTEN", "127.0.0.1:1")],
            "environment REMGATE__PUBLIC__LISTEN",
        ),
    ] {
        let over = loaded(toml, &variables, &[]).0.unwrap();
        assert_eq!(layer(&over, "public.listen"), by);
        assert_eq!(over.config.public.listen.to_string(), "127.0.0.1:1");
    }
    let over = loaded("", &[database, ("DATABASE_URL", "sqlite://b.db")], &[]).0.unwrap();
    assert_eq!(layer(&over, "database.url"), "environment DATABASE_URL");
}

#[test]
fn an_unknown_packaged_default_is_refused_with_the_near_miss() {
    let error = loaded("", &[("REMGATE_DEFAULT__PUBLC__LISTEN", "x")], &[]).0.unwrap_err().to_string();
    assert!(error.contains("did you mean REMGATE_DEFAULT__PUBLIC__LISTEN?"), "{error}");
}

#[test]
fn an_empty_text_is_not_set() {
    let toml = "[public]\nlisten = \"127.0.0.1:1\"\n[internal]\nadmin_key = \"\"";
    let empty = [("REMGATE__PUBLIC__LISTEN", ""), ("REMGATE__CALLBACK__TOKENS", ""), ("REMGATE_CONFIG", "")];
    let (result, _dir) = loaded(toml, &empty, &[("public.listen", "")]);
    let loaded = result.unwrap();
    assert_eq!(loaded.config.public.listen.port(), 1);
    assert!(loaded.config.internal.admin_key.is_none());
}

#[rstest]
#[case("", &[("DATABASE_URL", "postgres://u@h/d")], "environment DATABASE_URL", 0)]
#[case("[database]\nurl = \"sqlite://a.db\"", &[("DATABASE_URL", "postgres://u@h/d")], "file remgate.toml", 1)]
#[case("", &[("DATABASE_URL", "x"), ("REMGATE__DATABASE__URL", "sqlite://b.db")], "environment REMGATE__DATABASE__URL", 1)]
fn database_url_fills_only_a_gap(
    #[case] toml: &str,
    #[case] env: &[(&str, &str)],
    #[case] from: &str,
    #[case] warnings: usize,
) {
    let loaded = loaded(toml, env, &[]).0.unwrap();
    assert_eq!(layer(&loaded, "database.url"), from);
    assert_eq!(loaded.warnings.len(), warnings, "{:?}", loaded.warnings);
}

#[test]
fn a_file_variant_sets_the_value_and_the_later_layer_wins() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), format!("{KEY}\n")).unwrap();
    std::fs::write(dir.path().join("remgate.toml"), "[internal]\nadmin_key_file = \"key\"").unwrap();
    let from_file = loaded_in(&dir, &[], &[]).unwrap();
    assert_eq!(layer(&from_file, "internal.admin_key"), "internal.admin_key_file key");
    assert!(from_file.config.internal.admin_key.is_some());
    let over = loaded_in(&dir, &[("REMGATE__INTERNAL__ADMIN_KEY", KEY)], &[]).unwrap();
    assert_eq!(layer(&over, "internal.admin_key"), "environment REMGATE__INTERNAL__ADMIN_KEY");
    let both = [("REMGATE__INTERNAL__ADMIN_KEY", KEY), ("REMGATE__INTERNAL__ADMIN_KEY_FILE", "key")];
    let error = loaded_in(&dir, &both, &[]).unwrap_err().to_string();
    assert!(error.contains("`admin_key` and `admin_key_file` are both given"), "{error}");
}

#[rstest]
#[case("", "is empty")]
#[case("\n", "is empty")]
#[case("PLANTED", "internal.admin_key: ")]
fn the_value_in_a_file_is_checked_and_not_shown(#[case] content: &str, #[case] expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), content).unwrap();
    std::fs::write(dir.path().join("remgate.toml"), "[internal]\nadmin_key_file = \"key\"").unwrap();
    let error = loaded_in(&dir, &[], &[]).unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("remgate.toml:2"), "{error}");
    assert!(error.contains("key") && !error.contains("PLANTED"), "{error}");
}

#[test]
fn rust_log_sets_the_log_filter() {
    let filter = |value| loaded("", &[("RUST_LOG", value)], &[]).0.unwrap().log_filter;
    assert_eq!(filter("info,remgate=debug").as_deref(), Some("info,remgate=debug"));
    assert_eq!(filter(""), None);
}
