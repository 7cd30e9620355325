//! Names become addresses here, and only those that the guard lets through come out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Guard;

/// The addresses of a name, once they are known. The ports are of no meaning.
pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Where the addresses of a name come from; tests say something else than the system does.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name.
    fn lookup(&self, host: &str) -> Looking;
}

/// Asks the system, which knows the hosts file and the search domains.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: &str) -> Looking {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
    }
}

/// The resolver of the delivery client: the judgement falls on the addresses that are connected to next.
///
/// It never hears of a URL that holds an address: [`Guard::check_url`] judges those.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    /// Whether the connections lead to a port of one of our doors; a resolver does not hear of ports.
    pub(super) own_port: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { guard, own_port } = self.clone();
        Box::pin(async move {
            let found = guard.lookup().lookup(name.as_str()).await?;
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            let admitted = guard.admit(name.as_str(), found, own_port)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}
