//! Tests of the behaviour from outside, and of rules that the repository keeps.
//!
//! One binary, one file a feature; `support` is the harness that they share.

// Each module carries `#[cfg(test)]`, which lets clippy allow `unwrap` in it.
#[cfg(test)]
mod support;

#[cfg(test)]
mod app_state;
#[cfg(test)]
mod authentications;
#[cfg(test)]
mod callback;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cli_live;
#[cfg(test)]
mod config;
#[cfg(test)]
mod consumers;
#[cfg(test)]
mod container;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod disconnects;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod endpoint_changes;
#[cfg(test)]
mod endpoint_cli;
#[cfg(test)]
mod endpoint_states;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod event_filters;
#[cfg(test)]
mod events;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod floor_plan;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod healthcheck;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod internal;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod language;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod login;
#[cfg(test)]
mod lost_sessions;
#[cfg(test)]
mod names;
#[cfg(test)]
mod redelivery;
#[cfg(test)]
mod rejected;
#[cfg(test)]
mod remotepc;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod simulate_receiver;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod sqlite_file;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod store;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod stream_life;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod walkthroughs;
