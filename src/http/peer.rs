//! Address of the other end of a connection.

use std::net::SocketAddr;

/// Address at the other end of the connection: a client, or a proxy in front of it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);
