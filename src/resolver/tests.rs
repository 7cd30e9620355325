//! The system's resolver beside a name server of its own on loopback.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Resolve, SystemResolver};

/// The time that no look-up of these tests takes.
const LONG: Duration = Duration::from_secs(20);

/// Addresses and TTL of the names that exist.
type Zone = HashMap<&'static str, (Vec<IpAddr>, u32)>;

/// A name server. It says nothing about names below `silent.example`, and nothing about AAAA of `v4only.example`.
struct NameServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl NameServer {
    async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        let server = tokio::spawn(serve(socket, zone, Arc::clone(&asked)));
        let started = Self { port, asked, server, folder: tempfile::tempdir().unwrap() };
        started.write(
            "resolv.conf",
            "search corp.example\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        );
        started.write("hosts", "");
        started
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn resolver(&self) -> SystemResolver {
        SystemResolver::from_files(self.path("resolv.conf"), self.path("hosts"), Some(self.port))
    }

    /// The questions about a name so far, of both families.
    fn questions(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

async fn serve(socket: UdpSocket, zone: Zone, asked: Arc<Mutex<Vec<String>>>) {
    let mut packet = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut packet).await.unwrap();
        let request = Message::from_vec(&packet[..length]).unwrap();
        let query = request.queries[0].clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
        asked.lock().unwrap().push(name.clone());
        let wants_v6 = query.query_type() == RecordType::AAAA;
        if name.ends_with("silent.example") || (name == "v4only.example" && wants_v6) {
            continue;
        }
        let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
        answer.add_query(query.clone());
        match zone.get(name.as_str()) {
            Some((addresses, ttl)) => {
                for address in addresses.iter().filter(|address| address.is_ipv6() == wants_v6) {
                    answer.add_answer(Record::from_rdata(query.name().clone(), *ttl, RData::from(*address)));
                }
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

fn zone(names: &[(&'static str, &[&str], u32)]) -> Zone {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    names.iter().map(|(name, texts, ttl)| (*name, (addresses(texts), *ttl))).collect()
}

async fn addresses(resolver: &SystemResolver, host: &str) -> Vec<String> {
    let found = timeout(LONG, Resolve::resolve(resolver, host)).await.expect("in time");
    found.unwrap().iter().map(|address: &SocketAddr| address.ip().to_string()).collect()
}

async fn failure(resolver: &SystemResolver, host: &str) -> String {
    let found = timeout(LONG, Resolve::resolve(resolver, host)).await.expect("in time");
    found.unwrap_err().to_string()
}

#[tokio::test]
async fn both_families_are_found_ipv6_first() {
    let server = NameServer::start(zone(&[("dual.example", &["192.0.2.1", "2001:db8::1"], 60)])).await;
    assert_eq!(addresses(&server.resolver(), "dual.example").await, ["2001:db8::1", "192.0.2.1"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_about_one_family_does_not_hide_the_other() {
    let server = NameServer::start(zone(&[("v4only.example", &["192.0.2.4"], 60)])).await;
    assert_eq!(addresses(&server.resolver(), "v4only.example").await, ["192.0.2.4"]);
}

#[rstest::rstest]
#[case("crm", "192.0.2.7")]
#[case("my_service", "192.0.2.8")]
#[case("crm.corp.example.", "192.0.2.7")]
#[case("CRM.corp.example", "192.0.2.7")]
#[case("xn--bcher-kva.example", "192.0.2.9")]
#[tokio::test]
async fn names_are_completed_by_the_search_list(#[case] host: &str, #[case] address: &str) {
    let names: &[(&'static str, &[&str], u32)] = &[
        ("crm.corp.example", &["192.0.2.7"], 60),
        ("my_service.corp.example", &["192.0.2.8"], 60),
        ("xn--bcher-kva.example", &["192.0.2.9"], 60),
    ];
    let server = NameServer::start(zone(names)).await;
    assert_eq!(addresses(&server.resolver(), host).await, [address]);
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_needs_no_name_server() {
    let server = NameServer::start(zone(&[("crm.example", &["192.0.2.7"], 60)])).await;
    server.write("hosts", "10.0.0.5 crm.example crm # comment\n10.0.0.6 my_service\nnonsense line\n");
    let resolver = server.resolver();
    assert_eq!(addresses(&resolver, "crm.example").await, ["10.0.0.5"]);
    assert_eq!(addresses(&resolver, "Crm").await, ["10.0.0.5"]);
    assert_eq!(addresses(&resolver, "my_service").await, ["10.0.0.6"]);
    assert_eq!(server.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn localhost_is_this_machine_without_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = |name| folder.path().join(name);
    let resolver = SystemResolver::from_files(missing("resolv.conf"), missing("hosts"), None);
    assert_eq!(addresses(&resolver, "localhost").await, ["::1", "127.0.0.1"]);
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_its_ttl_says() {
    let names: &[(&'static str, &[&str], u32)] =
        &[("kept.example", &["192.0.2.1", "2001:db8::1"], 60), ("fresh.example", &["192.0.2.2"], 0)];
    let server = NameServer::start(zone(names)).await;
    let resolver = server.resolver();
    for _ in 0..5 {
        addresses(&resolver, "kept.example").await;
        addresses(&resolver, "fresh.example").await;
    }
    assert_eq!(server.questions("kept.example"), 2, "one question a family");
    assert!(server.questions("fresh.example") >= 5, "nothing is kept");
}

#[tokio::test]
async fn look_ups_of_one_name_share_a_query_and_do_not_hold_up_other_names() {
    let server = NameServer::start(zone(&[("good.example", &["192.0.2.1"], 0)])).await;
    let resolver = Arc::new(server.resolver());
    let silent = |i: usize| {
        let resolver = Arc::clone(&resolver);
        async move { Resolve::resolve(&*resolver, &format!("host{}.silent.example", i % 20)).await }
    };
    let mut silent = Box::pin(join_all((0..320).map(silent)));
    assert!(timeout(Duration::from_millis(100), &mut silent).await.is_err(), "they wait");
    let good = timeout(Duration::from_millis(500), Resolve::resolve(&*resolver, "good.example")).await;
    assert_eq!(good.expect("a good name is not held up").unwrap().len(), 1);
    assert!(server.questions("host7.silent.example") < 10, "320 look-ups do not make 320 queries");
    drop(silent);
}

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let server = NameServer::start(zone(&[("empty.example", &[], 60)])).await;
    let resolver = server.resolver();
    assert_eq!(failure(&resolver, "nowhere.example").await, "no address is known for the name");
    assert_eq!(failure(&resolver, "empty.example").await, "no address is known for the name");
    assert_eq!(failure(&resolver, "silent.example.").await, "no name server answered");
    assert_eq!(failure(&resolver, &"a".repeat(64)).await, "not a host name");
}

#[tokio::test]
async fn a_change_of_the_files_is_noticed() {
    let server = NameServer::start(zone(&[("crm.corp.example", &["192.0.2.7"], 0)])).await;
    let resolver = server.resolver();
    assert_eq!(addresses(&resolver, "crm").await, ["192.0.2.7"]);
    server.write("hosts", "10.0.0.5 crm\n");
    resolver.expire();
    assert_eq!(addresses(&resolver, "crm").await, ["10.0.0.5"]);
    // Half written: the earlier content stays in force.
    server.write("resolv.conf", "search ..\nnameserver 127.0.0.1\n");
    resolver.expire();
    assert_eq!(addresses(&resolver, "crm").await, ["10.0.0.5"]);
}
