//! Access rule: a listener may accept requests without a secret on a loopback address only, unless the operator allows more.

use std::fmt;
use std::net::SocketAddr;

use super::Config;
use crate::domain::ServiceName;

/// Listener that accepts requests without a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenListener {
    /// Public listener: every client that knows the callback URL can forge an authentication.
    Public {
        /// Address of the listener.
        listen: SocketAddr,
        /// The services without a token and without a list of addresses.
        services: Vec<ServiceName>,
    },
    /// Internal listener: every client can read events and use the reseller API.
    Internal {
        /// Address of the listener.
        listen: SocketAddr,
    },
}

impl OpenListener {
    /// Address of the listener.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        match self {
            Self::Public { listen, .. } | Self::Internal { listen } => *listen,
        }
    }

    /// Returns whether only this machine can reach the listener.
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
                 key while the listener is on loopback (`remgate key add NAME --scope admin`)"
            }
        }
    }
}

impl fmt::Display for OpenListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public { listen, services } => {
                let names: Vec<_> = services.iter().map(ServiceName::as_str).collect();
                write!(
                    f,
                    "the public listener on {listen} accepts requests without a secret: anyone can forge an authentication \
                     at the service {}",
                    names.join(", ")
                )
            }
            Self::Internal { listen } => {
                write!(
                    f,
                    "the internal listener on {listen} accepts requests without a secret: anyone who reaches it can read \
                     events and use RemotePC"
                )
            }
        }
    }
}

/// Listeners that must not be opened: other machines can reach them, and they need no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration leaves listeners open to the network:{}", remedies(.0))]
pub struct OpenListeners(Vec<OpenListener>);

fn remedies(open: &[OpenListener]) -> String {
    let lines: Vec<_> =
        open.iter().map(|listener| format!("\n  {listener}; {}", listener.remedy())).collect();
    let keys = open.iter().map(|listener| match listener {
        OpenListener::Public { .. } => "public.listen",
        OpenListener::Internal { .. } => "internal.listen",
    });
    let keys = keys.collect::<Vec<_>>().join(" and ");
    format!("{}\n  or keep to this machine: set {keys} to a loopback address", lines.concat())
}

impl Config {
    /// Listeners that accept requests without a secret. `stored_admin_key`: the store holds an admin key, which closes the
    /// internal listener even after its expiry.
    #[must_use]
    pub fn open_listeners(&self, stored_admin_key: bool) -> Vec<OpenListener> {
        let open = self.services.iter().filter(|service| !service.is_locked());
        let services: Vec<_> = open.map(|service| service.name.clone()).collect();
        let public = if services.is_empty() {
            None
        } else {
            Some(OpenListener::Public { listen: self.public.listen, services })
        };
        let is_open = self.internal.admin_key.is_none() && !stored_admin_key;
        let internal = is_open.then_some(OpenListener::Internal { listen: self.internal.listen });
        public.into_iter().chain(internal).collect()
    }

    /// Checks the access rule: each listener needs a secret, or only this machine can reach it, or the operator
    /// allows it explicitly. `stored_admin_key`: the store holds an admin key that has not expired.
    ///
    /// # Errors
    ///
    /// The listeners that break the rule.
    pub fn check_access(&self, stored_admin_key: bool) -> Result<(), OpenListeners> {
        let is_allowed = |listener: &OpenListener| {
            self.allow_unauthenticated && matches!(listener, OpenListener::Public { .. })
        };
        let mut open = self.open_listeners(stored_admin_key);
        open.retain(|listener| !listener.is_loopback() && !is_allowed(listener));
        if open.is_empty() { Ok(()) } else { Err(OpenListeners(open)) }
    }
}
