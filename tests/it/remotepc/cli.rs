//! `remgate remotepc` before the simulated account.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::simulator::simulator;
use crate::support::engine::{Engine, both_engines};
use crate::support::process::{Launch, Output, Process};
use crate::support::service::Service;

const KEY: &str = "rgk_admin-key-of-this-test-0123456789";

struct Shell {
    service: Service,
    simulator: Process,
}

impl Shell {
    async fn open(engine: &Engine, args: &[&str]) -> Self {
        let (simulator, config) = simulator(args).await;
        let config = format!("internal.admin_key = \"{KEY}\"\n{config}");
        let mut service = Service::start(engine, &config).await;
        service.internal = service.internal.bearer(KEY);
        Self { service, simulator }
    }

    async fn run(&self, args: &[&str]) -> Output {
        let internal = self.service.process.internal_addr().to_string();
        let all = [&["remotepc"], args, &["--internal-listen", &internal]].concat();
        Process::run(&all, &[], self.folder()).await
    }

    async fn done(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
        assert!(!output.stdout.contains("planted") && !output.stderr.contains("planted"));
        output.stdout
    }

    fn folder(&self) -> &Path {
        self.service.process.folder()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    /// The rows of a result, but for the time in each.
    fn rows(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join(name)).unwrap();
        assert!(!text.contains("planted"), "{text}");
        let text = text.strip_prefix('\u{feff}').expect("spreadsheets know UTF-8 by its mark");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
        text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
    }

    /// Returns the number of requests of a kind that the account has received.
    fn seen(&self, operation: &str) -> usize {
        self.simulator.log().lines().filter(|line| line.contains(&format!("/user/{operation} "))).count()
    }
}

const PEOPLE: &str = "invitedUserEmailId,allotedComputers\na@example.com,1\nb@example.com,\nsim-error@example.com,2\nno address,1\nc@example.com,x\n";

both_engines! {
    async fn every_operation_works_from_a_shell(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        shell.write("password", "planted-password\n");
        let jane = ["jane@example.com", "--first-name", "Jane", "--last-name", "Doe", "--computers", "3", "--send-email"];
        let added = shell.done(&[&["add"][..], &jane, &["--password-file", "password"]].concat()).await;
        assert_eq!(added.trim(), "jane@example.com  SUCCESS");
        assert_eq!(shell.done(&["invite", "john@example.com"]).await.trim(), "john@example.com  INVITED");
        let table = shell.done(&["list"]).await;
        assert!(table.lines().count() == 3 && table.contains("jane@example.com") && table.starts_with("USERNAME"), "{table}");
        let found: Value = serde_json::from_str(&shell.done(&["list", "--find", "jane", "--json"]).await).unwrap();
        assert_eq!((&found["allotted_computers"], &found["active"]), (&3.into(), &true.into()));
        let csv = shell.done(&["list", "--csv", "--active", "false", "--refresh"]).await;
        assert!(csv.starts_with("username,active,") && csv.contains("john@example.com,false"), "{csv}");

        let link = shell.done(&["signin", "jane@example.com", "--password-file", "password"]).await;
        let path = link.trim().strip_prefix(shell.service.internal.base()).expect("a link to the internal listener").to_owned();
        assert!(path.starts_with("/admin/remotepc/sessions/"), "{path}");
        shell.service.internal.get(&path).await.expect(303);
        let direct = shell.done(&["signin", "jane@example.com", "--password-file", "password", "--direct"]).await;
        assert!(direct.contains("/autologin/"), "{direct}");

        for (args, word) in [
            (&["invite", "no address"][..], "ENTER_VALID_EMAIL"),
            (&["invite", "sim-forbidden@example.com"], "Forbidden"),
            (&["signin", "nobody@example.com", "--password-file", "password"], "USERNAME_DOES_NOT_EXIST"),
            (&["signin", "nobody@example.com", "--password-file", "password", "--direct"], "USERNAME_DOES_NOT_EXIST"),
        ] {
            let refused = shell.run(args).await;
            assert!(refused.code == Some(1) && refused.stderr.contains(word) && !refused.stderr.contains("planted"), "{refused:?}");
        }
        for usage in [&["invite"][..], &["invite", "a@example.com", "--csv", "x"], &["invite", "--csv", "people.csv"],
            &["add", "a@example.com"], &["signin", "jane", "--password", "planted"]] {
            shell.write("people.csv", PEOPLE);
            assert_eq!(shell.run(usage).await.code, Some(2), "{usage:?}");
        }
    }

    async fn a_file_is_worked_off_and_gone_on_with(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        shell.write("people.csv", PEOPLE);
        let dry = shell.run(&["invite", "--csv", "people.csv", "--dry-run"]).await;
        assert_eq!(dry.code, Some(1), "{dry:?}");
        assert_eq!(dry.stdout, "row 5  no address  ENTER_VALID_EMAIL\nrow 6  c@example.com  INVALID_REQUEST\n");
        assert!(dry.stderr.contains("3 would be sent, 0 are done already, 2 are faulty") && shell.seen("invite") == 0, "{dry:?}");

        let files = ["invite", "--csv", "people.csv", "--result", "result.csv"];
        let first = shell.run(&files).await;
        assert!(first.code == Some(1) && first.stderr.contains("3 of 5 rows failed"), "{first:?}");
        let head = "invitedUserEmailId,allotedComputers,status,description";
        let failed = ["sim-error@example.com,2,failed,INTERNAL_SERVER_ERROR", "no address,1,failed,ENTER_VALID_EMAIL", "c@example.com,x,failed,INVALID_REQUEST"];
        let expected = [&[head, "a@example.com,1,ok,INVITED", "b@example.com,,ok,INVITED"][..], &failed].concat();
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(shell.rows("result.csv"), expected);
        assert_eq!(shell.seen("invite"), 3);

        // Both ways to go on: the rows that are done are not sent again, the one that upstream failed is.
        assert_eq!(shell.run(&files).await.code, Some(1));
        assert_eq!((shell.rows("result.csv"), shell.seen("invite")), (expected.clone(), 4));
        assert_eq!(shell.run(&["invite", "--csv", "result.csv", "--result", "other.csv"]).await.code, Some(1));
        assert_eq!((shell.rows("other.csv"), shell.seen("invite")), (expected.clone(), 5));
        assert_eq!(shell.run(&["invite", "--csv", "other.csv", "--result", "other.csv"]).await.code, Some(1));
        assert_eq!((shell.rows("other.csv"), shell.seen("invite")), (expected.clone(), 6));
        let mended = "invitedUserEmailId,allotedComputers\na@example.com,1\nb@example.com,\n";
        shell.write("people.csv", mended);
        let done = shell.run(&files).await;
        assert!(done.code == Some(0) && shell.seen("invite") == 6, "{done:?}");
        assert_eq!(shell.rows("result.csv"), expected, "rows that the smaller file lacks are kept");
        let other = shell.run(&["invite", "--csv", "people.csv", "--result", "password.csv", "--server", "http://127.0.0.1:9"]).await;
        assert!(other.code == Some(1) && other.stderr.contains("goes on where password.csv ends"), "{other:?}");
        assert_eq!(shell.rows("password.csv"), [head, "a@example.com,1,pending,", "b@example.com,,pending,"]);
    }

    async fn a_file_that_is_no_result_is_not_written_over(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        for name in ["people.csv", "others.csv"] {
            shell.write(name, PEOPLE);
        }
        for result in ["people.csv", "others.csv"] {
            let refused = shell.run(&["invite", "--csv", "people.csv", "--result", result]).await;
            assert!(refused.code == Some(1) && refused.stderr.contains("no column `status`"), "{refused:?}");
            assert_eq!(std::fs::read_to_string(shell.folder().join(result)).unwrap(), PEOPLE);
        }
        assert_eq!(shell.seen("invite"), 0);
    }

    async fn files_come_from_all_kinds_of_programs(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        // A byte order mark, CRLF, an empty line, quotes, one person twice, other order, no line end at the end.
        shell.write("people.csv", "\u{feff}allotedComputers,invitedUserEmailId\r\n1,\"a@example.com\"\r\n\r\n,b@example.com\r\n1,a@example.com");
        let done = shell.run(&["invite", "--csv", "people.csv", "--result", "result.csv"]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(shell.rows("result.csv"), ["allotedComputers,invitedUserEmailId,status,description",
            "1,a@example.com,ok,INVITED", ",b@example.com,ok,INVITED", "1,a@example.com,ok,INVITED"]);
        shell.write("broken.csv", "invitedUserEmailId,allotedComputers\n\"a\nb@example.com\",1\nc@example.com\n");
        let broken = shell.run(&["invite", "--csv", "broken.csv", "--dry-run"]).await;
        assert!(broken.code == Some(1) && broken.stderr.contains("row 3 has 1 columns"), "{broken:?}");
    }

    async fn people_are_added_without_their_passwords_being_kept(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        let head = "firstName,lastName,invitedUserEmailId,password,allotedComputers,sendEmailToUser";
        shell.write("people.csv", &format!("{head}\nJane,\"Doe, Dr.\",jane@example.com,planted-1,2,true\nJohn,Roe,john@example.com,,,\n"));
        shell.write("password", "planted-2");
        let refused = shell.run(&["add", "--csv", "people.csv", "--result", "result.csv"]).await;
        assert!(refused.code == Some(1) && refused.stderr.contains("--password-file"), "{refused:?}");
        let done = shell.run(&["add", "--csv", "people.csv", "--result", "result.csv", "--password-file", "password"]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(shell.rows("result.csv"), [
            "firstName,lastName,invitedUserEmailId,allotedComputers,sendEmailToUser,status,description",
            "Jane,\"Doe, Dr.\",jane@example.com,2,true,ok,SUCCESS",
            "John,Roe,john@example.com,,,ok,SUCCESS",
        ]);
        for (name, password) in [("jane@example.com", "planted-1"), ("john@example.com", "planted-2")] {
            shell.write("password", password);
            shell.done(&["signin", name, "--password-file", "password"]).await;
        }
        shell.done(&["add", "--csv", "result.csv", "--result", "again.csv"]).await;
        assert_eq!(shell.seen("add"), 2);
    }

    async fn a_run_that_was_killed_is_gone_on_with(engine: Engine) {
        let shell = Shell::open(&engine, &["--slow-by", "1s"]).await;
        shell.write("people.csv", "invitedUserEmailId\na@example.com\nsim-slow@example.com\nb@example.com\n");
        let internal = shell.service.process.internal_addr().to_string();
        let args = ["remotepc", "invite", "--csv", "people.csv", "--result", "result.csv", "--internal-listen", &internal];
        let run = Launch::new(&args).in_folder(shell.folder()).spawn();
        let begun = async {
            while shell.service.internal.get("/v1/audit?whom=sim-slow@example.com").await.json()["data"][0].is_null() {}
        };
        crate::support::within("the second row to begin", begun).await;
        run.kill();
        run.wait().await;
        assert_eq!(shell.rows("result.csv")[1..], ["a@example.com,pending,", "sim-slow@example.com,pending,", "b@example.com,pending,", "a@example.com,ok,INVITED"]);
        let done = Process::run(&args, &[], shell.folder()).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(shell.rows("result.csv")[1..], ["a@example.com,ok,INVITED", "sim-slow@example.com,ok,INVITED", "b@example.com,ok,INVITED"]);
        assert_eq!(shell.seen("invite"), 3, "the row that was under way was not sent twice");
    }

    async fn a_run_ends_where_nobody_would_fare_better(engine: Engine) {
        let shell = Shell::open(&engine, &["--trouble", "key-rejected"]).await;
        shell.write("people.csv", PEOPLE);
        let ended = shell.run(&["invite", "--csv", "people.csv", "--result", "result.csv"]).await;
        assert!(ended.code == Some(1) && ended.stderr.contains("REMOTEPC_KEY_REJECTED"), "{ended:?}");
        assert_eq!((shell.seen("invite"), shell.rows("result.csv").len()), (1, 6));
    }

    async fn a_run_that_a_signal_ends_leaves_one_row_a_person(engine: Engine) {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let engine = engine.another().await;
            let shell = Shell::open(&engine, &["--slow-by", "1s"]).await;
            shell.write("people.csv", "invitedUserEmailId\na@example.com\nsim-slow@example.com\nb@example.com\n");
            let internal = shell.service.process.internal_addr().to_string();
            let args = ["remotepc", "invite", "--csv", "people.csv", "--result", "result.csv", "--internal-listen", &internal];
            let run = Launch::new(&args).in_folder(shell.folder()).spawn();
            let begun = async {
                while shell.service.internal.get("/v1/audit?whom=sim-slow@example.com").await.json()["data"][0].is_null() {}
            };
            crate::support::within("the second row to begin", begun).await;
            run.signal(signal);
            assert_eq!(run.wait().await, Some(code));
            assert!(run.log().contains("1 of 3 rows are done; the same command goes on where result.csv ends"), "{}", run.log());
            assert_eq!(shell.rows("result.csv")[1..], ["a@example.com,ok,INVITED", "sim-slow@example.com,pending,", "b@example.com,pending,"]);
            let done = Process::run(&args, &[], shell.folder()).await;
            assert_eq!(done.code, Some(0), "{done:?}");
            assert_eq!(shell.rows("result.csv")[1..], ["a@example.com,ok,INVITED", "sim-slow@example.com,ok,INVITED", "b@example.com,ok,INVITED"]);
            assert_eq!(shell.seen("invite"), 3, "the row that was under way was not sent twice");
        }
    }

    async fn tables_of_spreadsheets_are_read_and_written(engine: Engine) {
        let shell = Shell::open(&engine, &[]).await;
        let head = "firstName|lastName|invitedUserEmailId|password";
        let table = format!("\u{feff}{head}\r\n=1+1|@doe|jane@example.com|planted-1\r\n\r\n'-J|a;=b|john@example.com|planted-2\r\n");
        let utf16: Vec<u8> = table.encode_utf16().flat_map(u16::to_be_bytes).collect();
        std::fs::write(shell.folder().join("people.csv"), utf16).unwrap();
        shell.done(&["add", "--csv", "people.csv", "--result", "result.csv"]).await;
        let text = std::fs::read_to_string(shell.folder().join("result.csv")).unwrap();
        let rows: Vec<_> = text.split("\r\n").collect();
        assert_eq!(rows[0], "\u{feff}firstName|lastName|invitedUserEmailId|status|description|at");
        assert!(rows[1].starts_with("'=1+1|'@doe|jane@example.com|ok|SUCCESS|2"), "{text}");
        assert!(rows[2].starts_with("''-J|a;'=b|john@example.com|ok|SUCCESS|2"), "{text}");
        shell.done(&["add", "--csv", "people.csv", "--result", "result.csv"]).await;
        shell.done(&["add", "--csv", "result.csv", "--result", "again.csv"]).await;
        assert_eq!((std::fs::read_to_string(shell.folder().join("again.csv")).unwrap(), shell.seen("add")), (text, 2));
    }
}
