//! Secrets and keys that the command line checks signatures with: from files or the configuration, never from a flag,
//! which other users of this machine could read.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::options::Global;
use super::process::Usage;
use crate::domain::{
    EndpointName, EndpointSettings, HumanDuration, Known, PublicKey, SigningSecret, Verifier,
};

/// Keys and tolerance of a signature check.
#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    /// Take the secret of this endpoint from the configuration, and its key if it has one
    #[arg(long, value_name = "NAME")]
    endpoint: Option<EndpointName>,
    /// Take secrets (whsec_...) from this file, one a line; any may fit
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Check signatures of the kind `v1a` with this public key; may be given several times
    #[arg(long, value_name = "whpk_...")]
    public_key: Vec<PublicKey>,
    /// Maximum age of the timestamp in either direction, such as 5m, or none for any
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    tolerance: Tolerance,
}

/// A duration, or no limit.
#[derive(Debug, Clone, Copy)]
struct Tolerance(Option<Duration>);

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let length = text.parse::<HumanDuration>().map_err(|error| format!("{error}, or `none`"))?;
        Ok(Self(Some(length.get())))
    }
}

/// Key with its name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) known: Known,
}

/// Keys for a check, with those of other configured endpoints, by which a wrong secret is recognised.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) known: Vec<Named>,
    pub(super) others: Vec<Named>,
}

impl VerifyOptions {
    /// Everything that was named.
    pub(super) fn read(&self, global: &Global) -> anyhow::Result<Ring> {
        let mut ring = Ring::default();
        if let Some(name) = &self.endpoint {
            let endpoints = global.load()?.config.endpoints;
            if endpoints.iter().all(|endpoint| endpoint.name != *name) {
                return Err(unknown(name, &endpoints).into());
            }
            for endpoint in endpoints {
                let is_meant = endpoint.name == *name;
                let named = of_endpoint(endpoint);
                if is_meant { ring.known.extend(named) } else { ring.others.extend(named) }
            }
        }
        if let Some(path) = &self.secret_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            ring.add(&text, &format!("the secret of {}", path.display()))?;
        }
        let keys = self.public_key.iter().cloned();
        ring.known.extend(keys.map(|key| Named { name: format!("the key {key}"), known: Known::Key(key) }));
        Ok(ring)
    }

    /// Returns a verifier with all keys of `ring` and the requested tolerance.
    pub(super) fn verifier(&self, ring: &Ring) -> Verifier {
        Verifier::new(ring.all(), self.tolerance.0)
    }
}

impl Ring {
    /// Parses secrets, one a line, with this name.
    pub(super) fn add(&mut self, text: &str, name: &str) -> Result<(), Usage> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(Usage(format!("{name}: there is none")));
        }
        for (index, line) in lines.iter().enumerate() {
            let secret: SigningSecret = line.parse().map_err(|error| Usage(format!("{name}: {error}")))?;
            let line = if lines.len() > 1 { format!(", number {}", index + 1) } else { String::new() };
            self.known.push(Named { name: format!("{name}{line}"), known: Known::Secret(secret) });
        }
        Ok(())
    }

    /// Returns all keys without their names.
    pub(super) fn all(&self) -> Vec<Known> {
        self.known.iter().map(|named| named.known.clone()).collect()
    }
}

fn of_endpoint(endpoint: EndpointSettings) -> Vec<Named> {
    let EndpointSettings { name, secret, sending, .. } = endpoint;
    let key = sending.signing_key.map(|key| Known::Key(key.public()));
    let secret = Named { name: format!("the secret of the endpoint {name}"), known: Known::Secret(secret) };
    let key = key.map(|known| Named { name: format!("the key of the endpoint {name}"), known });
    [secret].into_iter().chain(key).collect()
}

fn unknown(name: &EndpointName, endpoints: &[EndpointSettings]) -> Usage {
    let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Usage(format!(
        "the configuration declares no endpoint {name} (it declares {there}); the secret of one that was made while \
         remgate runs was shown then: give it with --secret-file"
    ))
}
