//! The provisioning rule: who signs up is invited, once, whatever happens in between.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::admin_client::{AdminClient, bad, ok};
use crate::support::engine::{Engine, both_engines};
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// A gateway with the rule, before this upstream.
async fn rule(number: u64, engine: &Engine, upstream: &Receiver, more: &str) -> AdminClient {
    let config = format!("callback.tokens = [\"{TOKEN}\"]\nprovisioning.computers = 2\n{more}");
    AdminClient::replica(number, engine, &upstream.url("/private"), &config).await
}

const ON: &str = "provisioning.mode = \"on\"\n";

/// Upstream with an empty list, which gives this answer to each invitation.
async fn upstream(word: &'static str) -> Receiver {
    Receiver::answering(move |asked| if is_list(asked) { listing(&[]) } else { invitation(asked, word) })
        .await
}

fn is_list(asked: &Received) -> bool {
    asked.target.ends_with("/user/list")
}

fn whom(asked: &Received) -> String {
    asked.json()[0]["invitedUserEmailId"].as_str().unwrap_or_default().to_owned()
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer::status(status).body(body.to_string())
}

fn invitation(asked: &Received, word: &str) -> Answer {
    json_answer(200, &ok(&json!([{"username": whom(asked), "status": word}])))
}

fn listing(emails: &[&str]) -> Answer {
    let users = emails.iter().map(
        |item| json!({"username": item, "alloted_computers": 2, "utilized_computers": 0, "isActive": true}),
    );
    json_answer(200, &ok(&json!({"resellerUsersList": users.collect::<Vec<_>>()})))
}

async fn expect(admin: &AdminClient, number: u64, subject: &str) {
    let path = format!("/v1/authentications/{}", uaid(number));
    admin.client.request(Method::PUT, &path, Some(&json!({"subject": subject}))).await.expect(201);
}

async fn send_callback(admin: &AdminClient, query: &str, number: u64) {
    admin
        .running
        .public
        .get(&format!("/remauth_callback/{TOKEN}?{query}={}", uaid(number)))
        .await
        .expect(200);
}

async fn register_user(admin: &AdminClient, number: u64, subject: &str) {
    expect(admin, number, subject).await;
    send_callback(admin, "registricated", number).await;
}

/// Waits for a number of events of the rule and returns them.
async fn events_of_rule(admin: &AdminClient, count: usize) -> Vec<Value> {
    let types = "type=remotepc.user.invited&type=remotepc.user.exists&type=remotepc.user.failed";
    let all = async {
        loop {
            let page = admin.client.get(&format!("/v1/events?limit=1000&{types}")).await.expect(200).json();
            let events = page["data"].as_array().unwrap().clone();
            if events.len() >= count {
                return events;
            }
        }
    };
    within("what the rule says", all).await
}

/// The trail's entries, as soon as there are so many that have an end.
async fn audit_lines(admin: &AdminClient, count: usize) -> Vec<String> {
    let all = async {
        loop {
            let audit_lines = admin.audit_lines("").await;
            if audit_lines.iter().filter(|item| !item.ends_with(" unknown")).count() >= count {
                return audit_lines;
            }
        }
    };
    within("the audit_lines", all).await
}

/// Lets time pass until upstream is asked again.
async fn next(admin: &AdminClient, upstream: &mut Receiver) -> Received {
    let passing = async {
        loop {
            admin.running.clock.advance(Duration::from_secs(1));
            admin.client.get("/livez").await;
        }
    };
    tokio::select! {
        asked = upstream.next() => asked,
        () = passing => unreachable!("time passes for ever"),
    }
}

/// Returns the position of the rule in the events, from the store.
async fn place(engine: &Engine) -> i64 {
    let query = "SELECT place FROM places";
    if engine.name() == "sqlite" {
        sqlx::query_scalar(query)
            .fetch_one(&mut SqliteConnection::connect(engine.url()).await.unwrap())
            .await
            .unwrap()
    } else {
        sqlx::query_scalar(query)
            .fetch_one(&mut PgConnection::connect(engine.url()).await.unwrap())
            .await
            .unwrap()
    }
}

both_engines! {
    async fn who_signs_up_is_invited_and_it_is_said(engine: Engine) {
        let (mut upstream, mut crm) = (upstream("INVITED").await, Receiver::start().await);
        let told = "types = [\"remotepc.user.invited\"]";
        let config = ON.to_owned() + &delivery("") + &endpoint("crm", &crm.url("/"), told);
        let admin = rule(1, &engine, &upstream, &config).await;
        register_user(&admin, 1, "Jane@example.com").await;
        let asked = upstream.next().await;
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/private/user/invite"));
        assert_eq!(asked.header("authorization"), "Bearer key-at-upstream");
        assert_eq!(asked.json(), json!([{"invitedUserEmailId": "Jane@example.com", "allotedComputers": 2}]));
        let event = events_of_rule(&admin, 1).await.remove(0);
        let cause = admin.client.get("/v1/events?limit=1").await.expect(200).json()["data"][0]["id"].clone();
        assert_eq!(event["detail"], json!({"event": cause, "email": "Jane@example.com", "computers": 2, "attempt_count": 1, "result": "INVITED"}));
        assert_eq!((&event["type"], &event["trust"], &event["uaid"], &event["service"], &event["subject"]),
            (&json!("remotepc.user.invited"), &json!("self"), &json!(uaid(1)), &json!("default"), &json!("Jane@example.com")));
        let delivered = crm.next().await.json();
        assert_eq!((&delivered["type"], &delivered["data"]["id"]), (&json!("remotepc.user.invited"), &event["id"]));
        let audit = admin.audit_page("").await;
        assert_eq!((&audit["data"][0]["who"]["name"], &audit["data"][0]["whom"]), (&json!("provisioning"), &json!("jane@example.com")));

        // The same again, and the same authentication in other words, is no other wish.
        send_callback(&admin, "registricated", 1).await;
        send_callback(&admin, "subscribed", 1).await;
        expect(&admin, 2, "joe@example.com").await;
        send_callback(&admin, "subscribed", 2).await;
        assert_eq!(whom(&upstream.next().await), "joe@example.com");
        events_of_rule(&admin, 2).await;
        assert_eq!(audit_lines(&admin, 2).await, ["remotepc.invite jane@example.com ok", "remotepc.invite joe@example.com ok"]);
        upstream.expect_none();
    }

    async fn what_upstream_says_becomes_an_event(engine: Engine) {
        let upstream = Receiver::answering(|asked| match whom(asked).split('@').next().unwrap_or_default() {
            "exists" => invitation(asked, "EXISTS"),
            "already" => invitation(asked, "ALREADY_INVITED"),
            "odd" => invitation(asked, "no more licences"),
            "refused" => json_answer(400, &bad("ACTION_PARENT_ACCOUNT_SUSPENDED")),
            _ => invitation(asked, "INVITED"),
        }).await;
        let admin = rule(1, &engine, &upstream, ON).await;
        for (number, (name, kind, fact, value)) in (1..).zip([
            ("exists", "exists", "result", json!("EXISTS")),
            ("already", "exists", "result", json!("ALREADY_INVITED")),
            ("odd", "failed", "result", json!("OTHER")),
            ("refused", "failed", "errors", json!(["ACTION_PARENT_ACCOUNT_SUSPENDED"])),
        ]) {
            register_user(&admin, number, &format!("{name}@example.com")).await;
            let event = events_of_rule(&admin, usize::try_from(number).unwrap()).await.pop().unwrap();
            assert_eq!(event["type"], format!("remotepc.user.{kind}"));
            assert_eq!((&event["detail"][fact], &event["detail"]["email"]), (&value, &json!(format!("{name}@example.com"))));
        }
    }

    async fn nobody_else_is_invited(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let portal = "provisioning.services = [\"portal\"]\n[[service]]\nname = \"portal\"\ntokens = [\"another-token-of-this-test-0123\"]\n";
        let admin = rule(1, &engine, &upstream, &(ON.to_owned() + portal)).await;
        let at_portal = async |query: &str, number: u64| {
            let path = format!("/remauth_callback/another-token-of-this-test-0123?{query}={}", uaid(number));
            admin.running.public.get(&path).await.expect(200);
        };
        let expect_at_portal = async |number: u64, subject: Value| {
            let path = format!("/v1/authentications/{}", uaid(number));
            let said = json!({"service": "portal", "subject": subject});
            admin.client.request(Method::PUT, &path, Some(&said)).await.expect(201);
        };
        register_user(&admin, 1, "other-service@example.com").await;
        expect_at_portal(2, json!("authenticated@example.com")).await;
        at_portal("authenticated", 2).await;
        expect_at_portal(3, json!("no address")).await;
        at_portal("registricated", 3).await;
        expect_at_portal(4, json!(null)).await;
        at_portal("registricated", 4).await;
        at_portal("registricated", 5).await;
        expect_at_portal(6, json!("wanted@example.com")).await;
        at_portal("registricated", 6).await;
        assert_eq!(whom(&upstream.next().await), "wanted@example.com");
        events_of_rule(&admin, 1).await;
        upstream.expect_none();
    }

    async fn what_anybody_may_have_sent_invites_nobody(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let config = format!("callback.allow_from = [\"127.0.0.1/32\"]\n{ON}");
        let open = AdminClient::before(&engine, &upstream.url("/"), ON).await;
        expect(&open, 1, "forged@example.com").await;
        open.running.public.get(&format!("/remauth_callback?registricated={}", uaid(1))).await.expect(200);
        drop(open);
        let listed = AdminClient::replica(2, &engine, &upstream.url("/"), &config).await;
        expect(&listed, 2, "listed@example.com").await;
        listed.running.public.get(&format!("/remauth_callback?registricated={}", uaid(2))).await.expect(200);
        assert_eq!(whom(&upstream.next().await), "listed@example.com");
        events_of_rule(&listed, 1).await;
        upstream.expect_none();
    }

    async fn a_dry_run_only_says_whom(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let admin = rule(1, &engine, &upstream, "provisioning.mode = \"dry_run\"").await;
        register_user(&admin, 1, "jane@example.com").await;
        assert_eq!(audit_lines(&admin, 1).await, ["remotepc.invite jane@example.com dry_run"]);
        assert_eq!(admin.audit_page("outcome=dry_run").await["data"][0]["detail"], json!({"computers": 2}));
        send_callback(&admin, "subscribed", 1).await;
        register_user(&admin, 2, "joe@example.com").await;
        assert_eq!(audit_lines(&admin, 2).await[1..], ["remotepc.invite joe@example.com dry_run"]);
        assert_eq!(events_of_rule(&admin, 0).await, Vec::<Value>::new());
        upstream.expect_none();
    }

    async fn what_came_while_it_was_off_is_none_of_its_business(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        for (number, mode, name) in [(1, "on", "first"), (2, "off", "second"), (3, "on", "third")] {
            let admin = rule(number, &engine, &upstream, &format!("provisioning.mode = \"{mode}\"")).await;
            register_user(&admin, number, &format!("{name}@example.com")).await;
            if mode == "on" {
                assert_eq!(whom(&upstream.next().await), format!("{name}@example.com"));
                events_of_rule(&admin, usize::try_from(number).unwrap().div_ceil(2)).await;
            }
        }
        upstream.expect_none();
    }

    async fn who_signed_up_before_being_expected_is_invited_once(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let admin = rule(1, &engine, &upstream, ON).await;
        send_callback(&admin, "registricated", 1).await;
        within("the event to be passed", async { while place(&engine).await < 1 {} }).await;
        upstream.expect_none();
        expect(&admin, 1, "early@example.com").await;
        assert_eq!(whom(&upstream.next().await), "early@example.com");
        events_of_rule(&admin, 1).await;
        upstream.expect_none();
    }

    async fn what_a_rule_has_passed_over_is_left_out_by_the_next_as_well(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let portal = "provisioning.services = [\"portal\"]\n[[service]]\nname = \"portal\"\ntokens = [\"another-token-of-this-test-0123\"]\n";
        let narrow = rule(1, &engine, &upstream, &(ON.to_owned() + portal)).await;
        register_user(&narrow, 1, "before@example.com").await;
        within("the event to be passed", async { while place(&engine).await < 1 {} }).await;
        drop(narrow);
        let wide = rule(2, &engine, &upstream, ON).await;
        register_user(&wide, 2, "after@example.com").await;
        assert_eq!(whom(&upstream.next().await), "after@example.com");
        events_of_rule(&wide, 1).await;
        upstream.expect_none();
    }

    async fn what_may_have_arrived_is_looked_up_before_it_is_done_again(engine: Engine) {
        for (listed, then) in [(true, "LISTED"), (false, "ALREADY_INVITED")] {
            let mut times = 0;
            let mut upstream = Receiver::answering(move |asked| {
                if is_list(asked) {
                    return listing(if listed { &["JANE@example.com"] } else { &["joe@example.com"] });
                }
                times += 1;
                if times == 1 { json_answer(500, &bad("INTERNAL_SERVER_ERROR")) } else { invitation(asked, then) }
            }).await;
            let number = if listed { 1 } else { 2 };
            let admin = rule(number, &engine, &upstream, ON).await;
            register_user(&admin, number, "jane@example.com").await;
            assert_eq!(whom(&upstream.next().await), "jane@example.com");
            assert!(is_list(&next(&admin, &mut upstream).await), "first it looks");
            if !listed {
                assert_eq!(whom(&upstream.next().await), "jane@example.com");
            }
            let event = events_of_rule(&admin, usize::try_from(number).unwrap()).await.pop().unwrap();
            assert_eq!(event["type"], "remotepc.user.invited", "the first attempt was ours");
            assert_eq!((&event["detail"]["result"], &event["detail"]["attempt_count"]), (&json!(then), &json!(2)));
            upstream.expect_none();
        }
    }

    async fn what_surely_did_not_arrive_is_done_again_and_in_the_end_given_up(engine: Engine) {
        let mut upstream = Receiver::answering(|_| json_answer(403, &json!({"status": "Forbidden", "code": 403, "errorsCount": 1,
            "errors": [{"description": "Forbidden "}]}))).await;
        let admin = rule(1, &engine, &upstream, &format!("{ON}provisioning.schedule = [\"1m\", \"1h\"]")).await;
        register_user(&admin, 1, "jane@example.com").await;
        upstream.next().await;
        for _ in 0..2 {
            audit_lines(&admin, 1).await;
            upstream.expect_none();
            admin.running.clock.advance(Duration::from_secs(5000));
            assert!(!is_list(&next(&admin, &mut upstream).await), "it is known that nothing was done");
        }
        let event = events_of_rule(&admin, 1).await.remove(0);
        assert_eq!((&event["type"], &event["detail"]["errors"], &event["detail"]["attempt_count"]),
            (&json!("remotepc.user.failed"), &json!(["Forbidden"]), &json!(3)));
        assert_eq!(audit_lines(&admin, 3).await, ["remotepc.invite jane@example.com upstream_error"; 3]);
    }

    async fn a_process_that_ends_over_it_leaves_a_doubt(engine: Engine) {
        let mut hung = false;
        let mut upstream = Receiver::answering(move |asked| {
            if is_list(asked) { return listing(&[]); }
            if std::mem::replace(&mut hung, true) { invitation(asked, "INVITED") } else { Answer::hang() }
        }).await;
        let first = rule(1, &engine, &upstream, ON).await;
        register_user(&first, 1, "jane@example.com").await;
        upstream.next().await;
        drop(first);
        let second = rule(2, &engine, &upstream, ON).await;
        second.running.clock.advance(Duration::from_mins(5));
        assert!(is_list(&next(&second, &mut upstream).await), "it is unknown whether the first attempt succeeded");
        assert_eq!(whom(&upstream.next().await), "jane@example.com");
        let event = events_of_rule(&second, 1).await.remove(0);
        assert_eq!((&event["type"], &event["detail"]["attempt_count"]), (&json!("remotepc.user.invited"), &json!(2)));
    }

    async fn replicas_invite_each_once(engine: Engine) {
        const MANY: u64 = 20;
        let mut upstream = upstream("INVITED").await;
        let admin = rule(1, &engine, &upstream, ON).await;
        let other = if engine.name() == "postgres" { Some(rule(2, &engine, &upstream, ON).await) } else { None };
        for number in 0..MANY {
            let at = if number % 2 == 0 { &admin } else { other.as_ref().unwrap_or(&admin) };
            register_user(at, number, &format!("{number}@example.com")).await;
        }
        assert_eq!(events_of_rule(&admin, 20).await.len(), 20);
        let asked: std::collections::BTreeSet<_> = upstream.arrived().iter().map(whom).collect();
        assert_eq!(asked.len(), 20);
        assert_eq!(admin.audit_lines("limit=1000").await.len(), 20);
    }
}
