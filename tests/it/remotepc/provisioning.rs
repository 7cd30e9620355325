//! The provisioning rule: who signs up is invited, once, whatever happens in between.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::desk::{Desk, bad, ok};
use crate::support::engine::{Engine, both_engines};
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// A gateway with the rule, before this upstream.
async fn rule(number: u64, engine: &Engine, upstream: &Receiver, more: &str) -> Desk {
    let config = format!("callback.tokens = [\"{TOKEN}\"]\nprovisioning.computers = 2\n{more}");
    Desk::replica(number, engine, &upstream.url("/private"), &config).await
}

const ON: &str = "provisioning.mode = \"on\"\n";

/// An upstream that says this of everybody who is invited, and has nobody on its list.
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
    let users = emails
        .iter()
        .map(|it| json!({"username": it, "alloted_computers": 2, "utilized_computers": 0, "isActive": true}));
    json_answer(200, &ok(&json!({"resellerUsersList": users.collect::<Vec<_>>()})))
}

async fn expect(desk: &Desk, number: u64, subject: &str) {
    let path = format!("/v1/authentications/{}", uaid(number));
    desk.client.request(Method::PUT, &path, Some(&json!({"subject": subject}))).await.expect(201);
}

async fn says(desk: &Desk, query: &str, number: u64) {
    desk.running.public.get(&format!("/remauth_callback/{TOKEN}?{query}={}", uaid(number))).await.expect(200);
}

async fn signs_up(desk: &Desk, number: u64, subject: &str) {
    expect(desk, number, subject).await;
    says(desk, "registricated", number).await;
}

/// What the rule has said, as soon as there are so many.
async fn said(desk: &Desk, count: usize) -> Vec<Value> {
    let types = "type=remotepc.user.invited&type=remotepc.user.exists&type=remotepc.user.failed";
    let all = async {
        loop {
            let page = desk.client.get(&format!("/v1/events?limit=1000&{types}")).await.expect(200).json();
            let events = page["data"].as_array().unwrap().clone();
            if events.len() >= count {
                return events;
            }
        }
    };
    within("what the rule says", all).await
}

/// The trail's entries, as soon as there are so many that have an end.
async fn deeds(desk: &Desk, count: usize) -> Vec<String> {
    let all = async {
        loop {
            let deeds = desk.deeds("").await;
            if deeds.iter().filter(|it| !it.ends_with(" unknown")).count() >= count {
                return deeds;
            }
        }
    };
    within("the deeds", all).await
}

/// Lets time pass until upstream is asked again.
async fn next(desk: &Desk, upstream: &mut Receiver) -> Received {
    let passing = async {
        loop {
            desk.running.clock.advance(Duration::from_secs(1));
            desk.client.get("/livez").await;
        }
    };
    tokio::select! {
        asked = upstream.next() => asked,
        () = passing => unreachable!("time passes for ever"),
    }
}

/// Where the rule stands in the store.
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
        let desk = rule(1, &engine, &upstream, &config).await;
        signs_up(&desk, 1, "Jane@example.com").await;
        let asked = upstream.next().await;
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/private/user/invite"));
        assert_eq!(asked.header("authorization"), "Bearer key-at-upstream");
        assert_eq!(asked.json(), json!([{"invitedUserEmailId": "Jane@example.com", "allotedComputers": 2}]));
        let event = said(&desk, 1).await.remove(0);
        let cause = desk.client.get("/v1/events?limit=1").await.expect(200).json()["data"][0]["id"].clone();
        assert_eq!(event["detail"], json!({"event": cause, "email": "Jane@example.com", "computers": 2, "attempt_count": 1, "result": "INVITED"}));
        assert_eq!((&event["type"], &event["trust"], &event["uaid"], &event["service"], &event["subject"]),
            (&json!("remotepc.user.invited"), &json!("self"), &json!(uaid(1)), &json!("default"), &json!("Jane@example.com")));
        let delivered = crm.next().await.json();
        assert_eq!((&delivered["type"], &delivered["data"]["id"]), (&json!("remotepc.user.invited"), &event["id"]));
        let trail = desk.trail("").await;
        assert_eq!((&trail["data"][0]["who"]["name"], &trail["data"][0]["whom"]), (&json!("provisioning"), &json!("jane@example.com")));

        // The same again, and the same authentication in other words, is no other wish.
        says(&desk, "registricated", 1).await;
        says(&desk, "subscribed", 1).await;
        expect(&desk, 2, "joe@example.com").await;
        says(&desk, "subscribed", 2).await;
        assert_eq!(whom(&upstream.next().await), "joe@example.com");
        said(&desk, 2).await;
        assert_eq!(deeds(&desk, 2).await, ["remotepc.invite jane@example.com ok", "remotepc.invite joe@example.com ok"]);
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
        let desk = rule(1, &engine, &upstream, ON).await;
        for (number, (name, kind, fact, value)) in (1..).zip([
            ("exists", "exists", "result", json!("EXISTS")),
            ("already", "exists", "result", json!("ALREADY_INVITED")),
            ("odd", "failed", "result", json!("OTHER")),
            ("refused", "failed", "errors", json!(["ACTION_PARENT_ACCOUNT_SUSPENDED"])),
        ]) {
            signs_up(&desk, number, &format!("{name}@example.com")).await;
            let event = said(&desk, usize::try_from(number).unwrap()).await.pop().unwrap();
            assert_eq!(event["type"], format!("remotepc.user.{kind}"));
            assert_eq!((&event["detail"][fact], &event["detail"]["email"]), (&value, &json!(format!("{name}@example.com"))));
        }
    }

    async fn nobody_else_is_invited(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let portal = "provisioning.services = [\"portal\"]\n[[service]]\nname = \"portal\"\ntokens = [\"another-token-of-this-test-0123\"]\n";
        let desk = rule(1, &engine, &upstream, &(ON.to_owned() + portal)).await;
        let at_portal = async |query: &str, number: u64| {
            let path = format!("/remauth_callback/another-token-of-this-test-0123?{query}={}", uaid(number));
            desk.running.public.get(&path).await.expect(200);
        };
        let expect_at_portal = async |number: u64, subject: Value| {
            let path = format!("/v1/authentications/{}", uaid(number));
            let said = json!({"service": "portal", "subject": subject});
            desk.client.request(Method::PUT, &path, Some(&said)).await.expect(201);
        };
        signs_up(&desk, 1, "other-service@example.com").await;
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
        said(&desk, 1).await;
        upstream.expect_none();
    }

    async fn what_anybody_may_have_sent_invites_nobody(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let config = format!("callback.allow_from = [\"127.0.0.1/32\"]\n{ON}");
        let open = Desk::before(&engine, &upstream.url("/"), ON).await;
        expect(&open, 1, "forged@example.com").await;
        open.running.public.get(&format!("/remauth_callback?registricated={}", uaid(1))).await.expect(200);
        drop(open);
        let listed = Desk::replica(2, &engine, &upstream.url("/"), &config).await;
        expect(&listed, 2, "listed@example.com").await;
        listed.running.public.get(&format!("/remauth_callback?registricated={}", uaid(2))).await.expect(200);
        assert_eq!(whom(&upstream.next().await), "listed@example.com");
        said(&listed, 1).await;
        upstream.expect_none();
    }

    async fn a_dry_run_only_says_whom(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let desk = rule(1, &engine, &upstream, "provisioning.mode = \"dry_run\"").await;
        signs_up(&desk, 1, "jane@example.com").await;
        assert_eq!(deeds(&desk, 1).await, ["remotepc.invite jane@example.com dry_run"]);
        assert_eq!(desk.trail("outcome=dry_run").await["data"][0]["detail"], json!({"computers": 2}));
        says(&desk, "subscribed", 1).await;
        signs_up(&desk, 2, "joe@example.com").await;
        assert_eq!(deeds(&desk, 2).await[1..], ["remotepc.invite joe@example.com dry_run"]);
        assert_eq!(said(&desk, 0).await, Vec::<Value>::new());
        upstream.expect_none();
    }

    async fn what_came_while_it_was_off_is_none_of_its_business(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        for (number, mode, name) in [(1, "on", "first"), (2, "off", "second"), (3, "on", "third")] {
            let desk = rule(number, &engine, &upstream, &format!("provisioning.mode = \"{mode}\"")).await;
            signs_up(&desk, number, &format!("{name}@example.com")).await;
            if mode == "on" {
                assert_eq!(whom(&upstream.next().await), format!("{name}@example.com"));
                said(&desk, usize::try_from(number).unwrap().div_ceil(2)).await;
            }
        }
        upstream.expect_none();
    }

    async fn who_signed_up_before_being_expected_is_invited_once(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let desk = rule(1, &engine, &upstream, ON).await;
        says(&desk, "registricated", 1).await;
        within("the event to be passed", async { while place(&engine).await < 1 {} }).await;
        upstream.expect_none();
        expect(&desk, 1, "early@example.com").await;
        assert_eq!(whom(&upstream.next().await), "early@example.com");
        said(&desk, 1).await;
        upstream.expect_none();
    }

    async fn what_a_rule_has_passed_over_is_left_out_by_the_next_as_well(engine: Engine) {
        let mut upstream = upstream("INVITED").await;
        let portal = "provisioning.services = [\"portal\"]\n[[service]]\nname = \"portal\"\ntokens = [\"another-token-of-this-test-0123\"]\n";
        let narrow = rule(1, &engine, &upstream, &(ON.to_owned() + portal)).await;
        signs_up(&narrow, 1, "before@example.com").await;
        within("the event to be passed", async { while place(&engine).await < 1 {} }).await;
        drop(narrow);
        let wide = rule(2, &engine, &upstream, ON).await;
        signs_up(&wide, 2, "after@example.com").await;
        assert_eq!(whom(&upstream.next().await), "after@example.com");
        said(&wide, 1).await;
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
            let desk = rule(number, &engine, &upstream, ON).await;
            signs_up(&desk, number, "jane@example.com").await;
            assert_eq!(whom(&upstream.next().await), "jane@example.com");
            assert!(is_list(&next(&desk, &mut upstream).await), "first it looks");
            if !listed {
                assert_eq!(whom(&upstream.next().await), "jane@example.com");
            }
            let event = said(&desk, usize::try_from(number).unwrap()).await.pop().unwrap();
            assert_eq!(event["type"], "remotepc.user.invited", "the first attempt was ours");
            assert_eq!((&event["detail"]["result"], &event["detail"]["attempt_count"]), (&json!(then), &json!(2)));
            upstream.expect_none();
        }
    }

    async fn what_surely_did_not_arrive_is_done_again_and_in_the_end_given_up(engine: Engine) {
        let mut upstream = Receiver::answering(|_| json_answer(403, &json!({"status": "Forbidden", "code": 403, "errorsCount": 1,
            "errors": [{"description": "Forbidden "}]}))).await;
        let desk = rule(1, &engine, &upstream, &format!("{ON}provisioning.schedule = [\"1m\", \"1h\"]")).await;
        signs_up(&desk, 1, "jane@example.com").await;
        upstream.next().await;
        for _ in 0..2 {
            deeds(&desk, 1).await;
            upstream.expect_none();
            desk.running.clock.advance(Duration::from_secs(5000));
            assert!(!is_list(&next(&desk, &mut upstream).await), "it is known that nothing was done");
        }
        let event = said(&desk, 1).await.remove(0);
        assert_eq!((&event["type"], &event["detail"]["errors"], &event["detail"]["attempt_count"]),
            (&json!("remotepc.user.failed"), &json!(["Forbidden"]), &json!(3)));
        assert_eq!(deeds(&desk, 3).await, ["remotepc.invite jane@example.com upstream_error"; 3]);
    }

    async fn a_process_that_ends_over_it_leaves_a_doubt(engine: Engine) {
        let mut hung = false;
        let mut upstream = Receiver::answering(move |asked| {
            if is_list(asked) { return listing(&[]); }
            if std::mem::replace(&mut hung, true) { invitation(asked, "INVITED") } else { Answer::hang() }
        }).await;
        let first = rule(1, &engine, &upstream, ON).await;
        signs_up(&first, 1, "jane@example.com").await;
        upstream.next().await;
        drop(first);
        let second = rule(2, &engine, &upstream, ON).await;
        second.running.clock.advance(Duration::from_mins(5));
        assert!(is_list(&next(&second, &mut upstream).await), "nobody knows how far it came");
        assert_eq!(whom(&upstream.next().await), "jane@example.com");
        let event = said(&second, 1).await.remove(0);
        assert_eq!((&event["type"], &event["detail"]["attempt_count"]), (&json!("remotepc.user.invited"), &json!(2)));
    }

    async fn replicas_invite_each_once(engine: Engine) {
        const MANY: u64 = 20;
        let mut upstream = upstream("INVITED").await;
        let desk = rule(1, &engine, &upstream, ON).await;
        let other = if engine.name() == "postgres" { Some(rule(2, &engine, &upstream, ON).await) } else { None };
        for number in 0..MANY {
            let at = if number % 2 == 0 { &desk } else { other.as_ref().unwrap_or(&desk) };
            signs_up(at, number, &format!("{number}@example.com")).await;
        }
        assert_eq!(said(&desk, 20).await.len(), 20);
        let asked: std::collections::BTreeSet<_> = upstream.arrived().iter().map(whom).collect();
        assert_eq!(asked.len(), 20);
        assert_eq!(desk.deeds("limit=1000").await.len(), 20);
    }
}
