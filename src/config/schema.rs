//! Every key there is, once: its kind, whether it is a secret, and what it may say.
//!
//! The file, the environment, `config show` and the messages all read this table. Defaults are not here: they stand in
//! `config/remgate.toml`.

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    List,
    Switch,
    Number,
    /// Texts by their names.
    Table,
}

impl ValueKind {
    /// As it is called in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::List => "a list",
            Self::Switch => "true or false",
            Self::Number => "a whole number",
            Self::Table => "a table",
        }
    }
}

/// Part of a value that `config show` and errors may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// All of it.
    Plain,
    /// Nothing.
    Secret,
    /// All but the password and the query.
    Url,
    /// All but the password in `config show`; nothing in errors.
    SecretUrl,
}

impl Shown {
    /// Returns whether an error must not repeat the value.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::SecretUrl)
    }
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct ConfigKey {
    pub(super) name: &'static str,
    pub(super) kind: ValueKind,
    pub(super) shown: Shown,
    /// True if `NAME_file` may name a file with the value.
    pub(super) twin: bool,
    /// Completes "allowed is ...".
    pub(super) allowed: &'static str,
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Written `[[name]]`, any number of times.
    pub(super) repeated: bool,
    pub(super) keys: &'static [ConfigKey],
}

/// Text about allowed values of `NAME_file`.
pub(super) const TWIN_ALLOWED: &str = "the path of a file that holds the value";

const fn text(name: &'static str, allowed: &'static str) -> ConfigKey {
    ConfigKey { name, kind: ValueKind::Text, shown: Shown::Plain, twin: false, allowed }
}

const fn list(name: &'static str, allowed: &'static str) -> ConfigKey {
    ConfigKey { name, kind: ValueKind::List, shown: Shown::Plain, twin: false, allowed }
}

const fn switch(name: &'static str) -> ConfigKey {
    ConfigKey { name, kind: ValueKind::Switch, shown: Shown::Plain, twin: false, allowed: "true or false" }
}

const fn number(name: &'static str, allowed: &'static str) -> ConfigKey {
    ConfigKey { name, kind: ValueKind::Number, shown: Shown::Plain, twin: false, allowed }
}

const fn table(name: &'static str, allowed: &'static str) -> ConfigKey {
    ConfigKey { name, kind: ValueKind::Table, shown: Shown::Plain, twin: false, allowed }
}

impl ConfigKey {
    const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    const fn with_twin(self) -> Self {
        Self { twin: true, ..self }
    }

    /// The name of the key that names a file with the value.
    pub(super) fn twin_name(&self) -> String {
        format!("{}_file", self.name)
    }
}

const LISTEN: &str = r#"an address and a port such as "127.0.0.1:8080" or "[::1]:8080""#;
const NETS: &str = r#"a list of networks or addresses such as "203.0.113.0/24" or "2001:db8::7""#;
const TOKENS: &str = "a list of tokens, each at least 22 of the characters a-z, A-Z, 0-9, `-` and `_` \
    (`remgate token new` makes one)";
const TIMEOUT: &str = r#"a duration such as "5s", longer than nothing and at most "10m""#;
const CACHE_DURATION: &str = r#"a duration such as "5m", from "1s" to "1d""#;
const IDLE: &str = r#"a duration such as "75s", from "1s" to "1h""#;
const DRAIN: &str = r#"a duration such as "20s", at most "10m"; "0s" waits for nothing"#;
const KEPT: &str = r#"a duration such as "30d", longer than nothing and at most "36500d""#;
const PROXY: &str = "http://host:port or socks5://host:port";
const CA_FILE: &str = "the path of a readable file with certificates in PEM";
const HTTP_URL: &str =
    "a URL that begins with http:// or https://, without user information, query or fragment";
const SCHEDULE: &str = r#"a list of at most 100 durations such as "5s" or "12h", each at most "365d""#;
const MODE: &str = r#""off", "dry_run" or "on""#;
const COMPUTERS: &str = "a whole number from 0 to 10000";
const IN_FLIGHT: &str = "a whole number from 1 to 10000";

/// Every section, in the order of the file.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "public",
        repeated: false,
        keys: &[
            text("listen", LISTEN),
            text("url", HTTP_URL).shown(Shown::Url),
            list("trusted_proxies", NETS),
            list("cors_origins", r#"a list of origins such as "https://app.example.com""#),
            text("idle_timeout", IDLE),
            text("drain", DRAIN),
        ],
    },
    Section {
        name: "internal",
        repeated: false,
        keys: &[
            text("listen", LISTEN),
            text("admin_key", "at least 24 visible ASCII characters, without spaces")
                .shown(Shown::Secret)
                .with_twin(),
            number("max_streams", IN_FLIGHT),
            text("idle_timeout", IDLE),
        ],
    },
    Section {
        name: "database",
        repeated: false,
        keys: &[text("url", "sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")
            .shown(Shown::SecretUrl)
            .with_twin()],
    },
    Section {
        name: "callback",
        repeated: false,
        keys: &[
            list("tokens", TOKENS).shown(Shown::Secret).with_twin(),
            list("allow_from", NETS),
            switch("allow_unauthenticated"),
        ],
    },
    Section {
        name: "service",
        repeated: true,
        keys: &[
            text("name", "1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`"),
            list("tokens", TOKENS).shown(Shown::Secret).with_twin(),
            list("allow_from", NETS),
        ],
    },
    Section {
        name: "endpoint",
        repeated: true,
        keys: &[
            text("name", "1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`"),
            text("url", "an absolute http:// or https:// URL without user information or fragment")
                .shown(Shown::Url),
            text("secret", "`whsec_` and the base64 of 24 to 64 random bytes")
                .shown(Shown::Secret)
                .with_twin(),
            list("types", r#"a list of event types such as "remauth.authenticated""#),
            list("services", "a list of names of configured services"),
            text("format", r#""standard", "cloudevents" or "remauth""#),
            switch("expected_only"),
            table("headers", "a table of texts by the names of headers").shown(Shown::Secret),
            list("schedule", SCHEDULE),
            text("timeout", TIMEOUT),
            number("max_in_flight", IN_FLIGHT),
            text("rate_limit", r#"such as "50/s", "1000/m" or "10/h", at most "10000/s""#),
            text("signing_key", "`whsk_` and the base64 of the 32 or 64 bytes of an ed25519 key")
                .shown(Shown::Secret)
                .with_twin(),
        ],
    },
    Section {
        name: "delivery",
        repeated: false,
        keys: &[
            list("schedule", SCHEDULE),
            text("connect_timeout", TIMEOUT),
            text("timeout", TIMEOUT),
            number("max_in_flight", IN_FLIGHT),
            number("max_in_flight_per_endpoint", IN_FLIGHT),
            text("disable_after", KEPT),
            list("allow_private_networks", "a list of networks, addresses or host names"),
            text("proxy", PROXY).shown(Shown::SecretUrl),
            text("ca_file", CA_FILE),
        ],
    },
    Section {
        name: "remotepc",
        repeated: false,
        keys: &[
            text("base_url", HTTP_URL).shown(Shown::Url),
            text("api_key", "visible ASCII characters without spaces").shown(Shown::Secret).with_twin(),
            text("timeout", TIMEOUT),
            number("max_in_flight", IN_FLIGHT),
            text("list_cache", r#"a duration such as "1m", at most "1d"; "0s" keeps nothing"#),
            text("proxy", PROXY).shown(Shown::SecretUrl),
            text("ca_file", CA_FILE),
        ],
    },
    Section {
        name: "provisioning",
        repeated: false,
        keys: &[
            text("mode", MODE),
            list("services", "a list of names of configured services"),
            number("computers", COMPUTERS),
            list("schedule", SCHEDULE),
        ],
    },
    Section {
        name: "authentications",
        repeated: false,
        keys: &[text("claim_within", CACHE_DURATION), text("min_trust", r#""token", "address" or "none""#)],
    },
    Section { name: "retention", repeated: false, keys: &[text("events", KEPT), text("audit", KEPT)] },
    Section {
        name: "telemetry",
        repeated: false,
        keys: &[
            text("log_format", r#""auto", "pretty" or "json""#),
            text("otlp_endpoint", HTTP_URL).shown(Shown::Url),
        ],
    },
];

impl Section {
    /// The key of that name, and whether the name is its twin's.
    pub(super) fn find(&self, name: &str) -> Option<(&'static ConfigKey, bool)> {
        self.keys.iter().find_map(|key| {
            let is_twin = key.twin && name.strip_suffix("_file") == Some(key.name);
            (is_twin || key.name == name).then_some((key, is_twin))
        })
    }

    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> &'static ConfigKey {
        self.find(name).expect("callers ask only for keys that stand in the schema").0
    }

    /// Every name that may stand in the section, twins included.
    pub(super) fn names(&self) -> Vec<String> {
        let twins = self.keys.iter().filter(|key| key.twin).map(ConfigKey::twin_name);
        self.keys.iter().map(|key| key.name.to_owned()).chain(twins).collect()
    }
}

/// The section of that name.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The environment variable of a key or of its `_file` variant.
pub(super) fn variable(prefix: &str, section: &str, name: &str) -> String {
    format!("{prefix}{}__{}", section.to_ascii_uppercase(), name.to_ascii_uppercase())
}

/// The candidate that was probably meant.
pub(super) fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // Longer words are never near, and a value pasted in the wrong place can be very long.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
