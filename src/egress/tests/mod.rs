//! Behaviour of the module, through real sockets on loopback.

mod errors;
mod floods;
mod formats;
mod guard;
mod h2;
mod hostile;
mod memory;
mod proxied;
mod receiver;
mod registry;
mod requests;
mod sending;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Allowed, Guard, Sender, SenderSettings};
use crate::domain::{
    AttemptReport, Clock, Cursor, DeliveryId, Endpoint, EndpointId, EndpointName, EndpointSettings,
    EndpointUrl, Event, EventId, EventType, Format, Health, Lease, LeaseToken, RandomSource, RawJson,
    Sending, ServiceName, SigningSecret, SystemClock, Trust,
};
use crate::resolver::{Resolve, Resolving};

/// Generous: a test that runs into it has failed.
const LONG: Duration = Duration::from_secs(20);

fn url(text: &str) -> EndpointUrl {
    text.parse().unwrap()
}

fn net(text: &str) -> Allowed {
    Allowed::Net(text.parse().unwrap())
}

/// A guard that lets through what a test on loopback needs.
fn local() -> Guard {
    Guard::new(vec![net("127.0.0.0/8"), net("::1/128")])
}

fn sender(guard: Guard, timeout: Duration) -> Sender {
    let settings = SenderSettings { connect_timeout: timeout, timeout, proxy: None, ca_file: None };
    Sender::new(settings, Arc::new(guard), Arc::new(SystemClock)).unwrap()
}

fn event() -> Event {
    Event {
        id: "evt_0199c0ffee00700080000000000000aa".parse().unwrap(),
        cursor: Cursor(42),
        event_type: EventType::Authenticated,
        service: Some(ServiceName::try_from("portal".to_owned()).unwrap()),
        uaid: Some("b83ee873a9b44f2083c130db24dfbe91".parse().unwrap()),
        trust: Trust::Token,
        source_ip: Some("203.0.113.9".parse().unwrap()),
        received_at: "2026-11-22T21:04:05.120Z".parse().unwrap(),
        duplicates: 3,
        expected: Some(true),
        subject: Some("j".to_owned()),
        state: Some(RawJson::parse(r#"{"cart":7}"#).unwrap()),
        late: false,
        detail: None,
    }
}

/// Event of remgate itself, without a uaid.
fn own_event() -> Event {
    Event {
        event_type: EventType::EndpointDisabled,
        service: None,
        uaid: None,
        trust: Trust::Own,
        source_ip: None,
        expected: None,
        subject: None,
        state: None,
        ..event()
    }
}

fn endpoint(to: &str, format: Format) -> Endpoint {
    let rng = RandomSource::seeded(5);
    let now = SystemClock.now();
    Endpoint {
        id: EndpointId::new(now, &rng),
        settings: EndpointSettings {
            name: EndpointName::try_from("crm".to_owned()).unwrap(),
            url: url(to),
            secret: SigningSecret::generate(&rng),
            types: Vec::new(),
            services: Vec::new(),
            format,
            expected_only: false,
            sending: Sending::default(),
        },
        previous_secret: None,
        health: Health::GOOD,
        enabled: true,
        disabled_reason: None,
        declared: false,
        undeclared: false,
        created_at: now,
    }
}

fn lease(event: Event, replay: bool) -> Lease {
    let rng = RandomSource::seeded(6);
    let now = SystemClock.now();
    Lease {
        expires_at: jiff::Timestamp::MAX,
        token: LeaseToken::new(now, &rng),
        delivery: DeliveryId(1),
        endpoint: EndpointId::new(now, &rng),
        event: Event { id: EventId::new(now, &rng), ..event },
        attempt_count: 0,
        attempts_before: 0,
        replay,
    }
}

/// One send of the usual event in the usual format.
async fn send(sender: &Sender, to: &str) -> AttemptReport {
    sender.send(&endpoint(to, Format::Standard), &lease(event(), false), SystemClock.now()).await
}

/// Resolves every name to what it is told, one answer after the other; the last one stays.
struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names {
    fn answering(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }

    fn nothing() -> Arc<Self> {
        Self::answering(&[])
    }
}

impl Resolve for Names {
    fn resolve(&self, _: &str) -> Resolving {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move {
            let answer = answer.ok_or_else(|| io::Error::other("no such name"))?;
            Ok(answer.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
        })
    }
}

/// Runs an ignored test of this module in a process of its own, with an environment of its own.
fn in_a_child(test: &str, environment: &[(&str, &str)]) {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored"])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
