//! The audit trail: who did what to whom, and what came of it.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::admin_client::{AdminClient, answer, bad, calls, invited, list, ok, upstream, user};
use super::upstream::{OK, by_hand, read_request};
use crate::support::engine::{Engine, both_engines};
use crate::support::within;

/// Runs a statement on the store itself.
pub(super) async fn run(engine: &Engine, statement: &'static str) {
    if engine.name() == "sqlite" {
        SqliteConnection::connect(engine.url()).await.unwrap().execute(statement).await.unwrap();
    } else {
        PgConnection::connect(engine.url()).await.unwrap().execute(statement).await.unwrap();
    }
}

/// An upstream whose answers wait for a gate; it says when it was asked.
pub(super) async fn gated() -> (String, CancellationToken, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (gate, (tell, told)) = (CancellationToken::new(), tokio::sync::mpsc::unbounded_channel());
    let waits = gate.clone();
    let address = by_hand(move |mut stream| {
        let (tell, waits) = (tell.clone(), waits.clone());
        async move {
            let _ = tell.send(read_request(&mut stream).await);
            waits.cancelled().await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, OK).await;
        }
    })
    .await;
    (format!("http://{address}"), gate, told)
}

both_engines! {
    async fn what_is_old_is_forgotten(engine: Engine) {
        let upstream = upstream("invite", 200, ok(&json!([]))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "retention.audit = \"2d\"").await;
        admin.call("invite", &invited(&["old@example.com"])).await.expect(200);
        admin.running.clock.advance(Duration::from_hours(47));
        admin.call("invite", &invited(&["new@example.com"])).await.expect(200);
        assert_eq!(admin.audit_lines("").await.len(), 2);
        admin.running.clock.advance(Duration::from_hours(2));
        within("the old entry to be forgotten", async { while admin.audit_lines("").await.len() > 1 {} }).await;
        assert_eq!(admin.audit_lines("").await, ["remotepc.invite new@example.com ok"]);
        // Its cursors go on where they were.
        admin.call("invite", &invited(&["newer@example.com"])).await.expect(200);
        assert_eq!(admin.audit_page("after=2").await["data"][0]["cursor"], "3");
    }

    async fn every_action_writes_a_row(engine: Engine) {
        let upstream = upstream("add", 200, ok(&json!("SUCCESS"))).await;
        let results = json!([{"username": "a@example.com", "status": "EXISTS"}, {"username": "B@example.com", "status": "INVITED"}]);
        answer(&upstream, "invite", 200, ok(&results)).await;
        answer(&upstream, "signin", 400, bad("USERNAME_DOES_NOT_EXIST")).await;
        answer(&upstream, "list", 200, ok(&json!({"resellerUsersList": []}))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        let add = admin.call("add", &user("Jane@Example.com")).await.expect(200);
        admin.call("invite", &invited(&["A@example.com", "b@example.com"])).await.expect(200);
        admin.call("signin", &json!({"username": "planted-name", "password": "planted-password"})).await.expect(400);
        list(&admin).await.expect(200);
        admin.call("invite", &invited(&["c@example.com", "planted"])).await.expect(400);
        admin.client.get("/v1/remotepc/users").await.expect(200);
        admin.client.get("/v1/remotepc/users").await.expect(200);
        assert_eq!(admin.audit_lines("").await, [
            "remotepc.add jane@example.com ok",
            "remotepc.invite a@example.com ok",
            "remotepc.invite b@example.com ok",
            "remotepc.signin - upstream_error",
            "remotepc.list - ok",
            "remotepc.invite c@example.com refused",
            "remotepc.list - ok",
        ], "what is answered from memory is no action");
        let page = admin.audit_page("").await;
        let details: Vec<_> = page["data"].as_array().unwrap().iter().map(|item| item["detail"].clone()).collect();
        assert_eq!(details[1..4], [
            json!({"status": 200, "result": "EXISTS"}),
            json!({"status": 200, "result": "INVITED"}),
            json!({"status": 400, "code": 400, "errors": ["USERNAME_DOES_NOT_EXIST"]}),
        ]);
        assert_eq!(details[5], json!({"errors": ["ENTER_VALID_EMAIL"]}));
        let first = &page["data"][0];
        assert_eq!(first["who"], json!({"id": "open", "name": "open"}));
        assert_eq!(first["request_id"], add.header("x-request-id"));
        assert_eq!((&first["at"], &first["finished_at"]), (&json!("2026-11-22T21:04:05.123Z"), &json!("2026-11-22T21:04:05.123Z")));
        assert!(first["id"].as_str().unwrap().starts_with("aud_"));
        assert!(!page.to_string().contains("planted"));
        assert_eq!(calls(&upstream).await, 5);
    }

    async fn the_trail_is_filtered_and_paged(engine: Engine) {
        let upstream = upstream("invite", 200, ok(&json!([]))).await;
        let key = "rgk_admin-key-of-this-test-0123456789";
        let mut admin = AdminClient::before(&engine, &upstream.uri(), &format!("internal.admin_key = \"{key}\"")).await;
        admin.client = admin.client.bearer(key);
        for (n, name) in ["a", "b", "a", "c"].into_iter().enumerate() {
            admin.running.clock.advance(Duration::from_secs(n as u64));
            admin.call("invite", &invited(&[&format!("{name}@example.com")])).await.expect(200);
        }
        admin.call("add", &json!({})).await.expect(400);
        for (query, found) in [
            ("whom=A@Example.com", 2), ("whom=nobody", 0), ("action=remotepc.add", 1), ("action=remotepc.add&action=remotepc.invite", 5),
            ("outcome=refused", 1), ("outcome=ok&whom=b@example.com", 1), ("who=admin_key", 5), ("who=open", 0),
            ("since=2026-11-22T21:04:06.123Z", 4), ("until=2026-11-22T21:04:06.123Z", 1), ("order=desc&whom=a@example.com", 2),
            ("since=2026-11-22T21:04:06.123Z&until=2026-11-22T21:04:08.123Z", 1),
        ] {
            assert_eq!(admin.audit_lines(query).await.len(), found, "{query}");
        }
        let mut seen = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let page = admin.audit_page(&format!("limit=2&after={cursor}")).await;
            seen.extend(page["data"].as_array().unwrap().iter().map(|item| item["cursor"].as_str().unwrap().to_owned()));
            cursor = page["cursor"].as_str().unwrap().to_owned();
            if page["has_more"] == false { break }
        }
        assert_eq!(seen.len(), 5);
        let backwards = admin.audit_page("limit=2&order=desc").await;
        assert_eq!(backwards["data"][0]["cursor"].as_str(), seen.last().map(String::as_str));
        let before = backwards["cursor"].as_str().unwrap();
        assert_eq!(admin.audit_lines(&format!("order=desc&before={before}")).await.len(), 3);
        for bad in ["action=Add", "outcome=", "limit=0", "since=x", "before=1", "order=desc&after=1", "whom=", "page=1", "who=a&who=b"] {
            admin.client.get(&format!("/v1/audit?{bad}")).await.expect(400);
        }
        admin.running.internal.get("/v1/audit").await.expect(401);
    }

    async fn what_cannot_be_written_down_is_not_done(engine: Engine) {
        let upstream = upstream("invite", 200, ok(&json!([]))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        run(&engine, "ALTER TABLE audit RENAME TO away").await;
        for operation in ["add", "invite", "signin", "list"] {
            let mut body = user("a@example.com");
            body["username"] = json!("a@example.com");
            let body = if operation == "invite" { invited(&["a@example.com"]) } else { body };
            let answer = admin.call_with_key("k", operation, &body).await.expect(503);
            assert_eq!(answer.json()["errors"], json!([{"description": "UNAVAILABLE"}]));
            assert_eq!((answer.header("retry-after"), answer.header("cache-control")), ("5", "no-store"));
        }
        admin.client.post("/v1/remotepc/sessions", &json!({"username": "a", "password": "b"})).await.expect(503);
        admin.client.get("/v1/remotepc/users").await.expect(503);
        admin.client.get("/v1/audit").await.expect(503);
        assert_eq!(calls(&upstream).await, 0);
        run(&engine, "ALTER TABLE away RENAME TO audit").await;
        admin.call_with_key("k", "invite", &invited(&["a@example.com"])).await.expect(200);
        assert_eq!(admin.audit_lines("").await, ["remotepc.invite a@example.com ok"]);
    }

    async fn a_row_is_there_before_the_call_and_ends_when_nobody_waits(engine: Engine) {
        let (base, gate, mut asked) = gated().await;
        let admin = AdminClient::before(&engine, &base, "").await;
        let body = user("jane@example.com");
        tokio::select! {
            _ = admin.call_with_key("k", "add", &body) => panic!("upstream holds its answer back"),
            _ = asked.recv() => {}
        }
        let begun = admin.audit_page("").await["data"][0].clone();
        assert_eq!((&begun["outcome"], &begun["finished_at"]), (&json!("unknown"), &Value::Null));
        admin.call_with_key("k", "add", &body).await.expect(409);
        gate.cancel();
        within("the row to end", async {
            while admin.audit_lines("outcome=unknown").await.len() == 1 {}
        }).await;
        assert_eq!(admin.audit_lines("").await, ["remotepc.add jane@example.com ok"]);
        assert_eq!(admin.call_with_key("k", "add", &body).await.expect(200).header("idempotent-replayed"), "true");
    }

    async fn a_sign_in_link_is_recorded_when_it_is_made_and_when_it_is_used(engine: Engine) {
        let link = "https://login.example/planted-link";
        let upstream = upstream("signin", 200, ok(&json!({"rpc_redirect_link": link}))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        let wanted = json!({"username": "Jane@example.com", "password": "planted-password"});
        let opened = admin.client.post("/v1/remotepc/sessions", &wanted).await.expect(201).json();
        let url = opened["url"].as_str().unwrap();
        run(&engine, "ALTER TABLE audit RENAME TO away").await;
        admin.client.get(url).await.expect(503);
        run(&engine, "ALTER TABLE away RENAME TO audit").await;
        admin.client.get(url).await.expect(303);
        admin.client.get(url).await.expect(404);
        admin.client.post("/v1/remotepc/sessions", &json!({"username": ""})).await.expect(422);
        admin.client.post("/v1/remotepc/sessions", &json!({"username": "jane", "password": ""})).await.expect(422);
        assert_eq!(admin.audit_lines("").await, [
            "remotepc.session.open jane@example.com ok",
            "remotepc.session.use jane@example.com ok",
            "remotepc.session.open - refused",
            "remotepc.session.open - refused",
        ]);
        let page = admin.audit_page("").await;
        assert_eq!(page["data"][1]["who"]["id"], "link");
        let code = url.rsplit('/').next().unwrap();
        assert!(!page.to_string().contains("planted") && !page.to_string().contains(code));
    }
}
