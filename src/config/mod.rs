//! What the operator decides: layers, keys and rules become one valid [`Config`].

mod sections;

pub use sections::{
    AllowedNetwork, Config, Database, DeclaredEndpoint, Delivery, Internal, LogFormat, Public, RemotePc,
    Retention, Service, Telemetry,
};
