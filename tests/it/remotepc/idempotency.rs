//! `Idempotency-Key` on adding and inviting: what is sent again costs no second call, and keeps no password.

use std::time::Duration;

use serde_json::json;

use super::admin_client::{AdminClient, answer, bad, calls, invited, ok, upstream, user};
use super::audit::gated;
use crate::support::engine::both_engines;

both_engines! {
    async fn the_same_request_costs_one_call(engine: Engine) {
        let upstream = upstream("add", 200, ok(&json!("SUCCESS"))).await;
        answer(&upstream, "invite", 400, bad("EMAIL_EXISTS")).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        let first = admin.call_with_key("k", "add", &user("a@example.com")).await.expect(200);
        assert!(first.headers.get("idempotent-replayed").is_none());
        let mut again = user("a@example.com");
        again["password"] = json!("another-password");
        for body in [&user("a@example.com"), &again] {
            let answer = admin.call_with_key("k", "add", body).await.expect(200);
            assert_eq!((&answer.body, answer.header("idempotent-replayed")), (&first.body, "true"));
            assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        }
        assert_eq!(calls(&upstream).await, 1);
        let refused = admin.call_with_key("k-2", "invite", &invited(&["a@example.com"])).await.expect(400);
        assert_eq!(admin.call_with_key("k-2", "invite", &invited(&["a@example.com"])).await.expect(400).body, refused.body);
        assert_eq!(calls(&upstream).await, 2);
        admin.call_with_key("k-3", "add", &user("a@example.com")).await.expect(200);
        admin.call("add", &user("a@example.com")).await.expect(200);
        assert_eq!(calls(&upstream).await, 4);
        assert_eq!(admin.audit_lines("").await.len(), 4, "what is answered again is no action");
    }

    async fn a_key_belongs_to_one_request(engine: Engine) {
        let upstream = upstream("(add|invite)", 200, ok(&json!("SUCCESS"))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        admin.call_with_key("k", "add", &json!({})).await.expect(400);
        admin.call_with_key("k", "add", &user("a@example.com")).await.expect(200);
        for (operation, body) in [("add", user("b@example.com")), ("invite", invited(&["a@example.com"]))] {
            let other = admin.call_with_key("k", operation, &body).await.expect(422).json();
            assert_eq!(other, json!({"status": "UNPROCESSABLE_ENTITY", "code": 422, "errorsCount": 1,
                "errors": [{"description": "IDEMPOTENCY_KEY_REUSED"}]}));
        }
        let bad = admin.call_with_key("two words", "add", &user("a@example.com")).await.expect(400).json();
        assert_eq!(bad["errors"][0]["description"], "INVALID_IDEMPOTENCY_KEY");
        // Only what must not be done twice goes by it.
        for _ in 0..2 {
            admin.call_with_key("k", "signin", &json!({"username": "jane", "password": "x"})).await.expect(502);
        }
        assert_eq!(calls(&upstream).await, 3);
        admin.running.clock.advance(Duration::from_hours(24));
        admin.call_with_key("k", "add", &user("b@example.com")).await.expect(200);
        assert_eq!(calls(&upstream).await, 4);
    }

    async fn it_survives_a_restart(engine: Engine) {
        let upstream = upstream("add", 200, ok(&json!("SUCCESS"))).await;
        let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
        let first = admin.call_with_key("k", "add", &user("a@example.com")).await.expect(200);
        drop(admin);
        let admin = AdminClient::replica(2, &engine, &upstream.uri(), "").await;
        let again = admin.call_with_key("k", "add", &user("a@example.com")).await.expect(200);
        assert_eq!((again.body.clone(), again.header("idempotent-replayed")), (first.body, "true"));
        admin.call_with_key("k", "add", &user("b@example.com")).await.expect(422);
        assert_eq!(calls(&upstream).await, 1);
    }

    async fn a_twin_is_told_to_come_back(engine: Engine) {
        let (base, gate, mut asked) = gated().await;
        let admin = AdminClient::before(&engine, &base, "").await;
        let body = invited(&["a@example.com"]);
        let twin = async {
            asked.recv().await.expect("upstream is asked");
            let told = admin.call_with_key("k", "invite", &body).await.expect(409).json();
            assert_eq!(told["errors"][0]["description"], "IDEMPOTENCY_KEY_IN_USE");
            assert_eq!(told["status"], "CONFLICT");
            // As long as the first may still be answered it is not taken for dead.
            admin.running.clock.advance(Duration::from_secs(74));
            admin.call_with_key("k", "invite", &body).await.expect(409);
            gate.cancel();
        };
        let (first, ()) = tokio::join!(admin.call_with_key("k", "invite", &body), twin);
        let first = first.expect(200);
        assert_eq!(admin.call_with_key("k", "invite", &body).await.expect(200).body, first.body);
        assert!(asked.try_recv().is_err(), "one call");
    }

    async fn an_unclear_failure_is_not_kept(engine: Engine) {
        for (status, told) in [(500, 500), (401, 502), (403, 403), (429, 429)] {
            let upstream = upstream("add", status, json!({"status": "X", "code": status, "errors": []})).await;
            let engine = engine.another().await;
            let admin = AdminClient::before(&engine, &upstream.uri(), "").await;
            admin.call_with_key("k", "add", &user("a@example.com")).await.expect(told);
            upstream.reset().await;
            answer(&upstream, "add", 200, ok(&json!("SUCCESS"))).await;
            admin.call_with_key("k", "add", &user("a@example.com")).await.expect(200);
            assert_eq!(calls(&upstream).await, 1);
        }
        let (base, _gate, mut asked) = gated().await;
        let admin = AdminClient::before(&engine, &base, "remotepc.timeout = \"300ms\"").await;
        for _ in 0..2 {
            let told = admin.call_with_key("k", "add", &user("a@example.com")).await.expect(504).json();
            assert_eq!(told["errors"][0]["description"], "REMOTEPC_TIMEOUT");
            asked.recv().await.expect("upstream is asked each time");
        }
        assert_eq!(admin.audit_lines("outcome=timeout").await.len(), 2);
    }
}
