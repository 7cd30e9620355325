//! Changes of an endpoint by request, and refusals for endpoints of the configuration.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{
    AsymmetricKey, AttemptTimeout, Endpoint, EndpointName, EndpointSettings, EndpointUrl, EventType, Format,
    Headers, Health, Invalid, MaxInFlight, PreviousSecret, RateLimit, Schedule, ServiceName, SigningSecret,
};

/// Requested change of an endpoint.
#[derive(Debug)]
pub enum EndpointEdit {
    /// Other settings.
    FieldPatch(Box<EndpointChange>),
    /// Enables it and resets its failures.
    Enable,
    /// Disables it, with a reason.
    Disable(Option<String>),
    /// Replaces the signing secret. The present one also signs until this time.
    Rotate(SigningSecret, Timestamp),
    /// Removes it.
    Remove,
}

/// Change of an optional setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FieldPatch<T> {
    /// Unchanged.
    #[default]
    Keep,
    /// Back to the default.
    Reset,
    /// New value.
    Set(T),
}

impl<T> FieldPatch<T> {
    /// Applies `f` to the new value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> FieldPatch<U> {
        match self {
            Self::Keep => FieldPatch::Keep,
            Self::Reset => FieldPatch::Reset,
            Self::Set(value) => FieldPatch::Set(f(value)),
        }
    }

    /// New value of a setting with this default; `None` if it is unchanged.
    pub fn or_default(self, default: impl FnOnce() -> T) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Reset => Some(default()),
            Self::Set(value) => Some(value),
        }
    }
}

/// `null` resets, a value sets; with `#[serde(default)]` a field that is not there keeps.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldPatch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Reset, Self::Set))
    }
}

/// Headers by their names, as [`Headers::merged`] takes them.
pub type HeaderChanges = Vec<(String, Option<SecretString>)>;

/// Changes of an endpoint's settings. A field that is absent is unchanged.
#[derive(Debug, Default)]
pub struct EndpointChange {
    /// Its name.
    pub name: Option<EndpointName>,
    /// URL. A new one resets the failures.
    pub url: Option<EndpointUrl>,
    /// The types it wants.
    pub types: Option<Vec<EventType>>,
    /// The services it wants.
    pub services: Option<Vec<ServiceName>>,
    /// Format of events.
    pub format: Option<Format>,
    /// True if only events of expected authentications are delivered.
    pub expected_only: Option<bool>,
    /// Changes of some headers, or of all.
    pub headers: FieldPatch<HeaderChanges>,
    /// Its own schedule.
    pub schedule: FieldPatch<Schedule>,
    /// Its own timeout.
    pub timeout: FieldPatch<AttemptTimeout>,
    /// Maximum number of concurrent attempts.
    pub max_in_flight: FieldPatch<MaxInFlight>,
    /// Its own rate.
    pub rate_limit: FieldPatch<RateLimit>,
    /// Key for asymmetric signatures; an existing key stays.
    pub signing_key: FieldPatch<AsymmetricKey>,
}

/// Reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditRefusal {
    /// The endpoint is declared in the configuration.
    #[error("it is declared in the configuration")]
    Declared,
    /// The endpoint was declared in the configuration before.
    #[error("it is no longer declared in the configuration")]
    Undeclared,
    /// The endpoint is declared in the configuration and is enabled.
    #[error("it is enabled")]
    Enabled,
    /// The settings would break a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Reason of a disabled endpoint when the request gave none.
const BY_REQUEST: &str = "disabled by request";

impl Endpoint {
    /// Applies a change. For a removal it only checks whether the endpoint may be removed.
    pub fn edit(&mut self, edit: &EndpointEdit) -> Result<(), EditRefusal> {
        let permitted = match edit {
            EndpointEdit::Enable => !self.undeclared,
            EndpointEdit::Remove => !self.declared,
            _ => !self.declared && !self.undeclared,
        };
        if !permitted {
            return Err(if self.declared { EditRefusal::Declared } else { EditRefusal::Undeclared });
        }
        match edit {
            EndpointEdit::FieldPatch(change) => self.change(change)?,
            EndpointEdit::Enable => {
                // No setting can be changed by request, but the endpoint may be enabled again.
                if self.declared && self.enabled && !self.health.is_held_back() {
                    return Err(EditRefusal::Enabled);
                }
                self.health = Health::GOOD;
                (self.enabled, self.disabled_reason) = (true, None);
            }
            EndpointEdit::Disable(reason) => {
                let first = self.disabled_reason.take().filter(|_| !self.enabled);
                let reason = reason.clone().or(first).unwrap_or_else(|| BY_REQUEST.to_owned());
                (self.enabled, self.disabled_reason) = (false, Some(reason));
            }
            EndpointEdit::Rotate(secret, until) => {
                let previous = std::mem::replace(&mut self.settings.secret, secret.clone());
                self.previous_secret = Some(PreviousSecret { secret: previous, until: *until });
            }
            EndpointEdit::Remove => {}
        }
        Ok(())
    }

    fn change(&mut self, change: &EndpointChange) -> Result<(), Invalid> {
        if change.url.as_ref().is_some_and(|url| *url != self.settings.url) {
            self.health = Health::GOOD;
        }
        self.settings.change(change)
    }
}

impl EndpointSettings {
    /// Applies all settings of a change, or none.
    pub fn change(&mut self, change: &EndpointChange) -> Result<(), Invalid> {
        match &change.headers {
            FieldPatch::Keep => {}
            FieldPatch::Reset => self.sending.headers = Headers::default(),
            FieldPatch::Set(headers) => {
                self.sending.headers = self.sending.headers.merged(headers.iter().cloned())?;
            }
        }
        set(&mut self.name, change.name.as_ref());
        set(&mut self.url, change.url.as_ref());
        set(&mut self.types, change.types.as_ref());
        set(&mut self.services, change.services.as_ref());
        set(&mut self.format, change.format.as_ref());
        set(&mut self.expected_only, change.expected_only.as_ref());
        let sending = &mut self.sending;
        set_or_unset(&mut sending.schedule, &change.schedule);
        set_or_unset(&mut sending.timeout, &change.timeout);
        set_or_unset(&mut sending.max_in_flight, &change.max_in_flight);
        set_or_unset(&mut sending.rate_limit, &change.rate_limit);
        if sending.signing_key.is_none() || matches!(change.signing_key, FieldPatch::Reset) {
            set_or_unset(&mut sending.signing_key, &change.signing_key);
        }
        Ok(())
    }
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        value.clone_into(place);
    }
}

fn set_or_unset<T: Clone>(place: &mut Option<T>, change: &FieldPatch<T>) {
    match change {
        FieldPatch::Keep => {}
        FieldPatch::Reset => *place = None,
        FieldPatch::Set(value) => *place = Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::{EndpointId, RandomSource, Sending};

    fn endpoint() -> Endpoint {
        let rng = RandomSource::seeded(1);
        let now = Timestamp::UNIX_EPOCH;
        let settings = EndpointSettings {
            name: "crm".to_owned().try_into().unwrap(),
            url: "https://a.example/".parse().unwrap(),
            secret: SigningSecret::generate(&rng),
            types: Vec::new(),
            services: Vec::new(),
            format: Format::Standard,
            expected_only: false,
            sending: Sending::default(),
        };
        Endpoint {
            id: EndpointId::new(now, &rng),
            settings,
            previous_secret: None,
            health: Health {
                failures: 60,
                failing_since: Some(now),
                last_failure_at: Some(now),
                probe_at: Some(now),
            },
            enabled: true,
            disabled_reason: None,
            declared: false,
            undeclared: false,
            created_at: now,
        }
    }

    fn edits() -> Vec<EndpointEdit> {
        let secret = SigningSecret::generate(&RandomSource::seeded(2));
        vec![
            EndpointEdit::FieldPatch(Box::default()),
            EndpointEdit::Disable(None),
            EndpointEdit::Rotate(secret, Timestamp::UNIX_EPOCH),
            EndpointEdit::Enable,
            EndpointEdit::Remove,
        ]
    }

    #[test]
    fn a_declared_endpoint_can_be_enabled_and_nothing_else() {
        let outcome = |edit: &EndpointEdit, declared, undeclared| {
            let mut endpoint = Endpoint { declared, undeclared, enabled: false, ..endpoint() };
            endpoint.edit(edit).err()
        };
        let declared: Vec<_> = edits().iter().map(|edit| outcome(edit, true, false)).collect();
        let no = Some(EditRefusal::Declared);
        assert_eq!(declared, [no.clone(), no.clone(), no.clone(), None, no]);
        let undeclared: Vec<_> = edits().iter().map(|edit| outcome(edit, false, true)).collect();
        let no = Some(EditRefusal::Undeclared);
        assert_eq!(undeclared, [no.clone(), no.clone(), no.clone(), no, None]);
    }

    #[test]
    fn enabling_a_declared_endpoint_mends_its_state_or_is_refused() {
        let mut held_back = Endpoint { declared: true, ..endpoint() };
        held_back.edit(&EndpointEdit::Enable).unwrap();
        assert_eq!(held_back.health, Health::GOOD);
        assert_eq!(held_back.edit(&EndpointEdit::Enable), Err(EditRefusal::Enabled));
    }

    #[test]
    fn the_first_reason_stays_unless_another_is_given() {
        let mut endpoint = endpoint();
        for (given, kept) in [(None, BY_REQUEST), (Some("moving"), "moving"), (None, "moving")] {
            endpoint.edit(&EndpointEdit::Disable(given.map(str::to_owned))).unwrap();
            assert_eq!((endpoint.enabled, endpoint.disabled_reason.as_deref()), (false, Some(kept)));
        }
        endpoint.edit(&EndpointEdit::Enable).unwrap();
        assert_eq!((endpoint.enabled, endpoint.disabled_reason, endpoint.health), (true, None, Health::GOOD));
    }

    #[test]
    fn another_rotation_replaces_the_previous_secret() {
        let mut endpoint = endpoint();
        let rng = RandomSource::seeded(3);
        let text = |secret: &SigningSecret| secret.reveal().expose_secret().to_owned();
        for _ in 0..2 {
            let before = text(&endpoint.settings.secret);
            endpoint.edit(&EndpointEdit::Rotate(SigningSecret::generate(&rng), Timestamp::MAX)).unwrap();
            assert_eq!(text(&endpoint.previous_secret.as_ref().unwrap().secret), before);
            assert_ne!(text(&endpoint.settings.secret), before);
        }
    }

    #[test]
    fn a_change_is_whole_or_nothing_and_leaves_the_rest_alone() {
        let mut endpoint = endpoint();
        let url: EndpointUrl = "https://b.example/".parse().unwrap();
        let bad = EndpointChange {
            url: Some(url.clone()),
            headers: FieldPatch::Set(vec![("host".to_owned(), Some("a".into()))]),
            ..EndpointChange::default()
        };
        assert!(endpoint.edit(&EndpointEdit::FieldPatch(Box::new(bad))).is_err());
        assert_eq!(endpoint.settings.url.to_string(), "https://a.example/");
        let keyed = |seed| FieldPatch::Set(AsymmetricKey::generate(&RandomSource::seeded(seed)));
        let good = EndpointChange { url: Some(url), signing_key: keyed(4), ..EndpointChange::default() };
        endpoint.edit(&EndpointEdit::FieldPatch(Box::new(good))).unwrap();
        assert_eq!(
            (endpoint.settings.url.to_string(), endpoint.health),
            ("https://b.example/".to_owned(), Health::GOOD)
        );
        let public = endpoint.settings.sending.signing_key.clone().unwrap().public();
        endpoint
            .settings
            .change(&EndpointChange { signing_key: keyed(5), ..EndpointChange::default() })
            .unwrap();
        assert_eq!(
            endpoint.settings.sending.signing_key.unwrap().public(),
            public,
            "a key that is there stays"
        );
        assert_eq!(endpoint.settings.name.as_str(), "crm");
    }
}
