//! The lock rule: a door may stand open on a loopback address, and nowhere else unless the operator says so.

use std::fmt;
use std::net::SocketAddr;

use super::Config;
use crate::domain::ServiceName;

/// A door that lets in whoever knocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenDoor {
    /// Anyone who knows the callback URL can say that somebody authenticated.
    Public {
        /// Where it listens.
        listen: SocketAddr,
        /// The services without a token and without a list of addresses.
        services: Vec<ServiceName>,
    },
    /// Anyone can read events and use the reseller API.
    Internal {
        /// Where it listens.
        listen: SocketAddr,
    },
}

impl OpenDoor {
    /// Where it listens.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        match self {
            Self::Public { listen, .. } | Self::Internal { listen } => *listen,
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.listen().ip().to_canonical().is_loopback()
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Public { .. } => {
                "set callback.tokens (REMGATE__CALLBACK__TOKENS; `remgate token new` makes one) or \
                 callback.tokens_file, or callback.allow_from, or callback.allow_unauthenticated = true"
            }
            Self::Internal { .. } => {
                "set internal.admin_key (REMGATE__INTERNAL__ADMIN_KEY) or internal.admin_key_file, or store an admin \
                 key while the door listens on loopback (`remgate key add NAME --scope admin`)"
            }
        }
    }
}

impl fmt::Display for OpenDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public { listen, services } => {
                let names: Vec<_> = services.iter().map(ServiceName::as_str).collect();
                write!(
                    f,
                    "the public listener on {listen} stands open: anyone can forge an authentication at the service {}",
                    names.join(", ")
                )
            }
            Self::Internal { listen } => {
                write!(
                    f,
                    "the internal listener on {listen} stands open: anyone there can read events and use RemotePC"
                )
            }
        }
    }
}

/// Why the doors must not be opened: they stand open on addresses that others can reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration leaves doors open to the network:{}", remedies(.0))]
pub struct Unlocked(Vec<OpenDoor>);

fn remedies(doors: &[OpenDoor]) -> String {
    let lines: Vec<_> = doors.iter().map(|door| format!("\n  {door}; {}", door.remedy())).collect();
    let keys = doors.iter().map(|door| match door {
        OpenDoor::Public { .. } => "public.listen",
        OpenDoor::Internal { .. } => "internal.listen",
    });
    let keys = keys.collect::<Vec<_>>().join(" and ");
    format!("{}\n  or keep to this machine: set {keys} to a loopback address", lines.concat())
}

impl Config {
    /// The doors that stand open. `stored_admin_key`: whether the store holds an admin key, which locks the internal one
    /// even when it has expired.
    #[must_use]
    pub fn open_doors(&self, stored_admin_key: bool) -> Vec<OpenDoor> {
        let open = self.services.iter().filter(|service| !service.is_locked());
        let services: Vec<_> = open.map(|service| service.name.clone()).collect();
        let public = if services.is_empty() {
            None
        } else {
            Some(OpenDoor::Public { listen: self.public.listen, services })
        };
        let is_open = self.internal.admin_key.is_none() && !stored_admin_key;
        let internal = is_open.then_some(OpenDoor::Internal { listen: self.internal.listen });
        public.into_iter().chain(internal).collect()
    }

    /// Whether the doors may be opened: each is locked, or only this machine can reach it, or the operator wants it so.
    /// `stored_admin_key`: whether the store holds an admin key that has not expired.
    pub fn check_locks(&self, stored_admin_key: bool) -> Result<(), Unlocked> {
        let wanted = |door: &OpenDoor| self.allow_unauthenticated && matches!(door, OpenDoor::Public { .. });
        let mut doors = self.open_doors(stored_admin_key);
        doors.retain(|door| !door.is_loopback() && !wanted(door));
        if doors.is_empty() { Ok(()) } else { Err(Unlocked(doors)) }
    }
}
