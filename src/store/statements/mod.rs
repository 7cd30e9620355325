//! Every statement, whole. Written once for both engines; where the text must differ, the difference is a fragment.
//!
//! One file a subject. `dialect!` names what differs, `common!` is what does not.

macro_rules! dialect {
    ($($name:ident),+ $(,)?) => {
        /// Statements whose text differs between the engines.
        #[derive(Debug)]
        pub(in crate::store) struct Texts { $(pub(in crate::store) $name: &'static str,)+ }

        impl Texts {
            /// Returns each statement with its name.
            pub(super) fn named(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

macro_rules! common {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$doc])* pub(in crate::store) const $name: &str = $text;)+

        /// Each statement that is the same on both engines, with its name.
        pub(super) const COMMON: &[(&str, &str)] = &[$((stringify!($name), $name),)+];
    };
}

pub(super) mod audit;
pub(super) mod authentications;
pub(super) mod consumers;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod idempotency;
pub(super) mod keys;
pub(super) mod provisionings;
pub(super) mod redelivery;
pub(super) mod rejected;
pub(super) mod upkeep;

/// The statements of one engine that are not the same on the other.
#[derive(Debug)]
pub struct Dialect {
    pub(super) events: events::Texts,
    pub(super) authentications: authentications::Texts,
    pub(super) endpoints: endpoints::Texts,
    pub(super) deliveries: deliveries::Texts,
    pub(super) redelivery: redelivery::Texts,
    pub(super) provisionings: provisionings::Texts,
    pub(super) audit: audit::Texts,
    pub(super) rejected: rejected::Texts,
}

pub(super) const SQLITE: Dialect = Dialect {
    events: events::SQLITE,
    authentications: authentications::SQLITE,
    endpoints: endpoints::SQLITE,
    deliveries: deliveries::SQLITE,
    redelivery: redelivery::SQLITE,
    provisionings: provisionings::SQLITE,
    audit: audit::SQLITE,
    rejected: rejected::SQLITE,
};

pub(super) const POSTGRES: Dialect = Dialect {
    events: events::POSTGRES,
    authentications: authentications::POSTGRES,
    endpoints: endpoints::POSTGRES,
    deliveries: deliveries::POSTGRES,
    redelivery: redelivery::POSTGRES,
    provisionings: provisionings::POSTGRES,
    audit: audit::POSTGRES,
    rejected: rejected::POSTGRES,
};

impl Dialect {
    /// Every statement of the engine with its name, those included that are the same everywhere.
    pub(super) fn all(&self) -> Vec<(&'static str, &'static str)> {
        let common = [
            events::COMMON,
            authentications::COMMON,
            consumers::COMMON,
            endpoints::COMMON,
            deliveries::COMMON,
            redelivery::COMMON,
            provisionings::COMMON,
            idempotency::COMMON,
            keys::COMMON,
            audit::COMMON,
            rejected::COMMON,
            upkeep::COMMON,
        ]
        .concat();
        let own = [
            self.events.named(),
            self.authentications.named(),
            self.endpoints.named(),
            self.deliveries.named(),
            self.redelivery.named(),
            self.provisionings.named(),
            self.audit.named(),
            self.rejected.named(),
        ]
        .concat();
        [common, own].concat()
    }
}
