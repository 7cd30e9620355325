//! Names of receivers and of the reseller API are resolved by the hosts file and DNS, and a name server that does not
//! answer delays only those whose names it should know.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use remgate::domain::{Clock, SystemClock};
use remgate::resolver::SystemResolver;
use serde_json::json;

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{delivery, endpoint, uaid};

/// The time within which each event reaches the good receiver. Resolving by the blocking pool took up to nine seconds.
const BOUND: Duration = Duration::from_secs(2);

/// A machine whose name server never answers, and whose hosts file knows `*.known.test`.
struct Machine {
    folder: tempfile::TempDir,
    silent: UdpSocket,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(folder.path().join("hosts"), "127.0.0.1 good.known.test api.known.test\n").unwrap();
        Self { folder, silent: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    fn resolver(&self) -> Arc<SystemResolver> {
        let file = |name| self.folder.path().join(name);
        let port = self.silent.local_addr().unwrap().port();
        Arc::new(SystemResolver::from_files(file("resolv.conf"), file("hosts"), Some(port)))
    }

    /// Returns whether a question about the name has arrived.
    fn was_asked_for(&self, name: &str) -> bool {
        self.silent.set_nonblocking(true).unwrap();
        let mut packet = [0; 1500];
        std::iter::from_fn(|| self.silent.recv(&mut packet).ok().map(|length| packet[..length].to_vec()))
            .any(|question| question.windows(name.len()).any(|part| part == name.as_bytes()))
    }
}

fn port(receiver: &Receiver) -> u16 {
    receiver.addr().port()
}

both_engines! {
    async fn a_silent_name_server_delays_only_those_behind_it(engine: Engine) {
        let machine = Machine::new();
        let mut good = Receiver::start().await;
        let silent = |number: u64| endpoint(&format!("silent{number}"), &format!("http://host{number}.silent.test/"), "");
        let unresolved: String = (0..20).map(silent).collect();
        let good_url = format!("http://good.known.test:{}/", port(&good));
        let config = delivery("max_in_flight = 64") + &unresolved + &endpoint("good", &good_url, "");
        let gateway = TestGateway::resolving(engine.url(), &config, machine.resolver()).await;
        for number in 0..100 {
            let begun = SystemClock.instant();
            let path = format!("/remauth_callback?authenticated={}", uaid(number));
            gateway.public.get(&path).await.expect(200);
            let taken = good.next().await.at.saturating_duration_since(begun);
            assert!(taken < BOUND, "event {number} took {taken:?}");
        }
        assert!(machine.was_asked_for("silent"), "the other endpoints' names were looked up");
    }
}

#[tokio::test]
async fn the_reseller_api_is_found_by_the_same_resolver() {
    let machine = Machine::new();
    let users = json!({"status": "OK", "code": 200, "message": {"resellerUsersList": []}}).to_string();
    let mut upstream = Receiver::answering(move |_| {
        Answer::status(200).header("content-type", "application/json").body(users.clone())
    })
    .await;
    let engine = Engine::sqlite();
    let config =
        format!("[remotepc]\napi_key = \"key\"\nbase_url = \"http://api.known.test:{}/\"\n", port(&upstream));
    let gateway = TestGateway::resolving(engine.url(), &config, machine.resolver()).await;
    gateway.internal.post("/admin/remotepc/user/list", &json!({})).await.expect(200);
    assert_eq!(upstream.next().await.header("host"), format!("api.known.test:{}", port(&upstream)));
}
