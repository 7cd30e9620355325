//! Enums whose variants have one fixed text each.

/// Defines an enum whose variants have one fixed text each, for the wire and for the store. Variants that are
/// `unread` have a text but cannot be parsed.
macro_rules! text_enum {
    (
        $(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }
        $(unread { $($(#[$udoc:meta])* $unread:ident = $utext:literal,)+ })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ $($($(#[$udoc])* $unread,)+)? }

        impl $name {
            /// All variants that can be parsed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the text on the wire and in the store.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ $($(Self::$unread => $utext,)+)? }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::domain::Invalid::new(format_args!(concat!($what, " is one of {}"), all.join(", ")))
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::domain::Invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use text_enum;
