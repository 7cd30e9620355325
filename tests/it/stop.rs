//! Stops and restarts: no callback is refused before the process ends, and none that was answered is lost.

use std::time::Duration;

use remgate::domain::{Clock, SystemClock};
use rustix::process::Signal;

use crate::support::engine::both_engines;
use crate::support::http::Client;
use crate::support::process::Launch;
use crate::support::raw::Connection;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{Service, delivery, endpoint, text, uaid};
use crate::support::within;

/// Sends callbacks, each on a connection of its own, until one is refused; how many were answered 200.
async fn probe(addr: std::net::SocketAddr, first: u64) -> u64 {
    for number in first.. {
        let Ok(stream) = tokio::net::TcpStream::connect(addr).await else { return number };
        let answer =
            Connection::of(stream).ask(&format!("/remauth_callback?authenticated={}", uaid(number))).await;
        match answer {
            Some(answer) => assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}"),
            None => return number,
        }
    }
    unreachable!("numbers do not end")
}

both_engines! {
    async fn callbacks_are_accepted_until_the_process_ends(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::answering(|_| Answer::hang()).await;
        let config = delivery("timeout = \"60s\"") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start_in(folder.path(), &engine, &config).await;
        service.store(&uaid(0)).await;
        receiver.next().await;
        service.process.signal(Signal::TERM);
        let answered = tokio::time::timeout(Duration::from_secs(20), probe(service.process.public_addr(), 1)).await.unwrap();
        // The first refusal comes with the end.
        let refused = SystemClock.instant();
        assert_eq!(service.process.wait().await, Some(0));
        assert!(refused.elapsed() < Duration::from_secs(1), "refused {:?} before the end", refused.elapsed());
        assert!(answered > 300, "{answered}");
        let service = Service::start_in(folder.path(), &engine, &config).await;
        let mut stored = std::collections::BTreeSet::new();
        let mut after = "0".to_owned();
        loop {
            let page = service.events(&format!("limit=1000&after={after}")).await;
            stored.extend(page["data"].as_array().unwrap().iter().map(|event| event["uaid"].as_str().unwrap().to_owned()));
            after = page["cursor"].as_str().unwrap().to_owned();
            if page["has_more"] == false {
                break;
            }
        }
        for number in 0..answered {
            assert!(stored.contains(&uaid(number)), "{number} of {answered} was answered and is not there");
        }
    }

    async fn while_it_stops_it_is_not_ready_and_answers_at_once(engine: Engine) {
        let service = Service::start(&engine, "public.drain = \"2s\"").await;
        let mut kept = Connection::open(service.process.public_addr()).await;
        kept.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(!kept.answer().await.to_lowercase().contains("connection: close"));
        let begun = SystemClock.instant();
        service.process.signal(Signal::TERM);
        service.process.line(|line| line.contains("\"stopping\"")).await;
        within("readiness to fail", async { while service.internal.get("/readyz").await.status != 503 {} }).await;
        let waited = service.internal.get("/v1/events?wait=60").await.expect(200);
        assert_eq!(waited.header("connection"), "close");
        // A connection that was open before serves one more request, and says that it is the last.
        kept.send(format!("GET /remauth_callback?authenticated={} HTTP/1.1\r\nHost: a\r\n\r\n", uaid(1))).await;
        let answer = kept.closed().await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.to_lowercase().contains("connection: close"), "{answer}");
        service.store(&uaid(2)).await;
        assert_eq!(service.process.wait().await, Some(0));
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
    }

    async fn hangup_is_ignored_and_logged(service: Service) {
        for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
            service.process.signal(signal);
            service.process.line(|line| line.contains(&format!("ignored {name}"))).await;
        }
        service.store(&uaid(1)).await;
    }

    async fn a_second_signal_ends_a_stop_at_once(engine: Engine) {
        let mut hanging = Receiver::answering(|_| Answer::hang()).await;
        let config = delivery("") + &endpoint("hanging", &hanging.url("/"), "");
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        hanging.next().await;
        service.process.signal(Signal::TERM);
        service.process.line(|line| line.contains("\"stopping\"")).await;
        let begun = SystemClock.instant();
        service.process.signal(Signal::INT);
        assert_eq!(service.process.wait().await, Some(130));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

/// As the first process of a container, for which signals have no default action.
#[rstest::rstest]
#[case(&["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"], 0)]
#[case(&["event", "tail", "--server", "SERVER"], 0)]
#[case(&["event", "list", "--server", "SERVER"], 143)]
#[case(&["healthcheck", "--server", "SERVER"], 143)]
#[case(&["simulate", "receiver", "--listen", "127.0.0.1:0"], 0)]
#[case(&["simulate", "remotepc", "--listen", "127.0.0.1:0"], 0)]
#[tokio::test]
async fn every_subcommand_ends_at_a_signal_as_the_first_process(#[case] args: &[&str], #[case] code: i32) {
    // A server that accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let args = args.iter().map(|arg| if *arg == "SERVER" { &server } else { *arg });
    let namespace =
        ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_remgate")];
    let all: Vec<_> = namespace.into_iter().chain(args).collect();
    let outer = Launch::program("/usr/bin/unshare".as_ref(), &all).spawn();
    let children = format!("/proc/{0}/task/{0}/children", outer.pid());
    let inner = within("the process in the namespace", async {
        loop {
            let children = std::fs::read_to_string(&children).unwrap_or_default();
            let child: Option<i32> = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
            let Some(child) = child else { continue };
            // Its handler stands when the signal is among those that it catches.
            let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught =
                caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
            if caught >> (Signal::TERM.as_raw() - 1) & 1 == 1 {
                break child;
            }
        }
    })
    .await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(inner).unwrap(), Signal::TERM).unwrap();
    assert_eq!(outer.wait().await, Some(code), "{}", outer.log());
}

/// A reader of stderr that does not read stops nothing, not even the end.
#[tokio::test]
async fn a_log_that_is_not_read_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (public, internal) = (free(), free());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_remgate"))
        .args(["--public-listen", &public.to_string(), "--internal-listen", &internal.to_string()])
        .current_dir(folder.path())
        .env_clear()
        .env("RUST_LOG", "debug")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let client = Client::at(&format!("http://{public}"));
    within("the start", async {
        while tokio::net::TcpStream::connect(internal).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for number in 0..3000 {
        client.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let status = child.wait();
        drop(child.stderr.take());
        status
    });
    let status =
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it ends").unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Lines that are dropped are counted, and a later line says how many were. A reader that is gone stops nothing.
#[tokio::test]
async fn dropped_log_lines_are_counted_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (public, internal) = (free(), free());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_remgate"))
        .args(["--public-listen", &public.to_string(), "--internal-listen", &internal.to_string()])
        .current_dir(folder.path())
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    within("the start", async {
        while tokio::net::TcpStream::connect(internal).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (client, metrics) =
        (Client::at(&format!("http://{public}")), Client::at(&format!("http://{internal}")));
    let dropped = async || {
        let answer = metrics.get("/metrics").await.expect(200);
        let line =
            answer.text().lines().find_map(|line| line.strip_prefix("remgate_log_lines_dropped_total "));
        line.expect("the series is there from the start").parse::<u64>().unwrap()
    };
    assert_eq!(dropped().await, 0);
    // Each callback is a line.
    let mut rounds = 0;
    while dropped().await == 0 {
        futures_util::future::join_all((0..500).map(|n| {
            let client = client.clone();
            async move {
                client
                    .get(&format!("/remauth_callback?authenticated={}", uaid(rounds * 500 + n)))
                    .await
                    .expect(200)
            }
        }))
        .await;
        rounds += 1;
        assert!(rounds < 100, "no line was dropped");
    }
    let stderr = child.stderr.take().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
        // Dropping the reader closes the pipe.
        lines.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.contains("log lines were dropped because stderr was not read"))
        })
    });
    assert!(within("the line that tells of it", told).await.unwrap().is_some());
    let after = dropped().await;
    for number in 1_000_000..1_000_200 {
        client.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
    }
    assert!(dropped().await >= after);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait());
    assert_eq!(within("the end", ended).await.unwrap().unwrap().code(), Some(0));
}

/// Each listener has a time of its own.
#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = "public.idle_timeout = \"2s\"\ninternal.idle_timeout = \"4s\"";
    let config = text("sqlite://remgate.db", config);
    let service = Service::of(Launch::new(&[]).in_folder(folder.path()).config(&config).start().await);
    let idle = async |addr: std::net::SocketAddr| {
        let mut connection = Connection::open(addr).await;
        for _ in 0..2 {
            connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
        }
        let idle = SystemClock.instant();
        connection.closed().await;
        idle.elapsed()
    };
    let (public, internal) =
        tokio::join!(idle(service.process.public_addr()), idle(service.process.internal_addr()));
    assert!(public >= Duration::from_millis(1900) && public < Duration::from_secs(8), "{public:?}");
    assert!(internal >= Duration::from_millis(3900) && internal < Duration::from_secs(10), "{internal:?}");
}

#[tokio::test]
async fn idle_timeouts_have_bounds() {
    for key in ["public.idle_timeout", "internal.idle_timeout"] {
        for (value, code) in
            [("1s", 0), ("1h", 0), ("75s", 0), ("999ms", 78), ("0s", 78), ("61m", 78), ("75", 78)]
        {
            let config = text("sqlite://remgate.db", &format!("{key} = \"{value}\""));
            let output = Launch::new(&["config", "check"]).config(&config).run().await;
            assert_eq!(output.code, Some(code), "{key} = {value:?}: {output:?}");
            assert!(code == 0 || output.stderr.contains(key), "{output:?}");
        }
    }
}

#[tokio::test]
async fn a_second_process_on_an_sqlite_file_ends_and_says_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = text("sqlite://remgate.db", "");
    let first = Service::of(Launch::new(&[]).in_folder(folder.path()).config(&config).start().await);
    for _ in 0..2 {
        let second = Launch::new(&[]).in_folder(folder.path()).config(&config).run().await;
        assert_eq!(second.code, Some(1), "{second:?}");
        let owner = format!("process {} on ", first.process.pid());
        assert!(second.stderr.contains("remgate.db: ") && second.stderr.contains(&owner), "{second:?}");
    }
    first.store(&uaid(1)).await;
    // The system releases the lock, however the process ends.
    first.process.signal(Signal::KILL);
    first.process.wait().await;
    let again = Service::of(Launch::new(&[]).in_folder(folder.path()).config(&config).start().await);
    assert_eq!(again.count().await, 1);
}
