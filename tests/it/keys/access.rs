//! The internal listener opens and closes with the admin keys in the store, for all replicas at once.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use remgate::domain::{AdminKeys, ApiKey, Grant, KeyDigest, KeyId, PostgresUrl, RandomSource, Scope};
use remgate::store::{self, LastAdminKey, Location, Removal, Store};
use serde_json::json;

use super::{ADMIN, ALL, Made, locked, make, with_scopes};
use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::process::Launch;
use crate::support::service::{text, uaid};

const EVENTS: &str = "/v1/events";

async fn admin_until(client: &Client, expires_at: &str) -> Made {
    make(client, &json!({"name": "for a while", "scopes": ["admin"], "expires_at": expires_at})).await
}

fn location(engine: &Engine) -> Location {
    match engine.url().strip_prefix("sqlite://") {
        Some(file) => Location::Sqlite(PathBuf::from(file)),
        None => Location::Postgres(PostgresUrl::parse(engine.url()).unwrap()),
    }
}

/// Puts an admin key into a store, as no request could if it has expired.
async fn stored(store: &dyn Store, seed: u64, expires_at: Option<Timestamp>) -> KeyId {
    let id = KeyId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(seed));
    let key = ApiKey {
        id: id.clone(),
        name: "stored".parse().unwrap(),
        grant: Grant::new(&[Scope::Admin], None).unwrap(),
        expires_at,
        created_at: Timestamp::UNIX_EPOCH,
        last_used_at: None,
    };
    store.add_key(&key, &KeyDigest::of(&format!("rgk_{seed}"))).await.unwrap();
    id
}

both_engines! {
    async fn the_first_admin_key_closes_open_listeners_on_every_replica(engine: Engine) {
        let one = TestGateway::replica(1, engine.url(), "").await;
        let other = TestGateway::replica(2, engine.url(), "").await;
        // A key without the scope `admin` closes nothing, and its scopes count for requests that present it.
        let reader = with_scopes(&one.internal, &["events:read"]).await;
        for gateway in [&one, &other] {
            gateway.internal.get(ALL).await.expect(200);
            reader.on(&gateway.internal).get(EVENTS).await.expect(200);
            reader.on(&gateway.internal).get(ALL).await.expect(403);
            let foreign = gateway.internal.clone().header("host", "remgate.internal");
            foreign.get(EVENTS).await.expect(421);
            reader.on(&foreign).get(EVENTS).await.expect(421);
            let upstreams = foreign.post("/admin/remotepc/user/list", &json!({})).await.expect(421);
            assert_eq!(upstreams.json()["errors"][0]["description"], "NOT_FROM_THIS_HOST");
            foreign.get("/admin/remotepc/sessions/nothing").await.expect(421);
            for path in ["/livez", "/readyz", "/metrics"] {
                foreign.get(path).await.expect(200);
            }
            gateway.internal.clone().bearer("rgk_nobody-has-this-one").get(EVENTS).await.expect(401);
            // A client of upstream's sends upstream's key, which an open listener ignores.
            gateway.internal.clone().bearer("of-upstream").get(EVENTS).await.expect(200);
        }
        let admin = async {
            one.until_figure("remgate_waiters 1").await;
            let admin = with_scopes(&other.internal, &["admin"]).await;
            one.public.get(&format!("/remauth_callback?authenticated={}", uaid(1))).await.expect(200);
            admin
        };
        let (held, admin) = tokio::join!(one.internal.get("/v1/events?wait=60"), admin);
        held.expect(401);
        for gateway in [&one, &other] {
            for client in [gateway.internal.clone(), gateway.internal.clone().bearer("of-upstream")] {
                client.get(EVENTS).await.expect(401);
                client.post(ALL, &json!({"name": "mine", "scopes": ["admin"]})).await.expect(401);
            }
            let foreign = gateway.internal.clone().header("host", "remgate.internal");
            foreign.get(EVENTS).await.expect(401);
            admin.on(&foreign).get(ALL).await.expect(200);
            reader.on(&foreign).get(EVENTS).await.expect(200);
        }
        // On loopback it may stand open again.
        admin.on(&other.internal).delete(&admin.path()).await.expect(204);
        for gateway in [&one, &other] {
            gateway.internal.get(EVENTS).await.expect(200);
            admin.on(&gateway.internal).get(EVENTS).await.expect(401);
        }
    }

    async fn a_revoked_key_opens_nothing_on_any_replica_also_while_it_waits(engine: Engine) {
        let one = TestGateway::replica(1, engine.url(), &locked()).await;
        let other = TestGateway::replica(2, engine.url(), &locked()).await;
        let (admin, elsewhere) =
            (one.internal.clone().bearer(ADMIN), other.internal.clone().bearer(ADMIN));
        let reader = with_scopes(&admin, &["events:read"]).await;
        let client = reader.on(&one.internal);
        reader.on(&other.internal).get(EVENTS).await.expect(200);
        let revoked = async {
            one.until_figure("remgate_waiters 1").await;
            elsewhere.delete(&reader.path()).await.expect(204);
            one.public.get(&format!("/remauth_callback?authenticated={}", uaid(1))).await.expect(200);
        };
        let (held, ()) = tokio::join!(client.get("/v1/events?wait=60"), revoked);
        held.expect(401);
        for gateway in [&one, &other] {
            reader.on(&gateway.internal).get(EVENTS).await.expect(401);
        }
        assert_eq!(admin.get(EVENTS).await.json()["data"].as_array().unwrap().len(), 1);
    }

    async fn expired_admin_keys_keep_the_listener_locked(gateway: TestGateway) {
        let lasting = with_scopes(&gateway.internal, &["admin"]).await;
        let client = lasting.on(&gateway.internal);
        let brief = admin_until(&client, "2026-11-22T21:05:05.123Z").await;
        gateway.clock.advance(Duration::from_mins(1));
        brief.on(&gateway.internal).get(EVENTS).await.expect(401);
        gateway.internal.get(EVENTS).await.expect(401);
        // Without the lasting one no caller could authenticate any more.
        let kept = client.delete(&lasting.path()).await.expect(409);
        assert!(kept.text().contains("have expired"), "{kept:?}");
        client.get(EVENTS).await.expect(200);
        client.delete(&brief.path()).await.expect(204);
        client.delete(&lasting.path()).await.expect(204);
        gateway.internal.get(EVENTS).await.expect(200);
        // All keys have expired: the listener stays locked for every caller.
        let brief = admin_until(&gateway.internal, "2026-11-22T21:06:05.123Z").await;
        gateway.clock.advance(Duration::from_mins(1));
        brief.on(&gateway.internal).get(EVENTS).await.expect(401);
        gateway.internal.get(EVENTS).await.expect(401);
        gateway.internal.clone().header("host", "evil.example").get(EVENTS).await.expect(401);
    }

    async fn the_last_admin_key_stays_when_no_caller_could_authenticate(engine: Engine) {
        let store = store::open(&location(&engine), &remgate::domain::RandomSource::from_os()).await.unwrap();
        let now = Timestamp::from_second(100).unwrap();
        let before = Some(Timestamp::from_second(50).unwrap());
        let replica = store::open(&location(&engine), &remgate::domain::RandomSource::from_os()).await.unwrap();
        let old = stored(&*store, 3, before).await;
        let mut left = stored(&*store, 10, None).await;
        let remove = async |id: &KeyId, last: LastAdminKey| store.remove_key(id, now, last).await.unwrap();
        assert_eq!(remove(&old, LastAdminKey::LocksOut).await, Removal::Done { last_admin: false });
        // Two at once, through two replicas, are two after each other.
        for seed in 11..21 {
            let further = stored(&*store, seed, None).await;
            let (one, other) = tokio::join!(
                remove(&left, LastAdminKey::LocksOut),
                replica.remove_key(&further, now, LastAdminKey::LocksOut)
            );
            let (stays, goes) = (Removal::LastAdminKey(AdminKeys::None), Removal::Done { last_admin: false });
            left = match (one, other.unwrap()) {
                (one, other) if one == stays && other == goes => left,
                (one, other) if one == goes && other == stays => further,
                both => panic!("{both:?}"),
            };
        }
        replica.close().await;
        assert_eq!(store.admin_keys(now).await.unwrap(), AdminKeys::Valid);
        let old = stored(&*store, 4, before).await;
        for last in [LastAdminKey::LocksOut, LastAdminKey::Opens] {
            assert_eq!(remove(&left, last).await, Removal::LastAdminKey(AdminKeys::Expired));
        }
        assert_eq!(remove(&left, LastAdminKey::IsNotAll).await, Removal::Done { last_admin: false });
        assert_eq!(store.admin_keys(now).await.unwrap(), AdminKeys::Expired);
        assert_eq!(remove(&old, LastAdminKey::LocksOut).await, Removal::LastAdminKey(AdminKeys::None));
        assert_eq!(remove(&old, LastAdminKey::Opens).await, Removal::Done { last_admin: true });
        assert_eq!(remove(&old, LastAdminKey::Opens).await, Removal::Unknown);
        store.close().await;
    }

    async fn the_lock_rule_counts_a_stored_admin_key_that_can_be_used(engine: Engine) {
        let facing = |listen: &str| format!("database.url = \"{}\"\ninternal.listen = \"{listen}\"\n", engine.url());
        let check = async |listen: &str| Launch::new(&["config", "check"]).config(&facing(listen)).run().await;
        let refused = check("0.0.0.0:0").await;
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains("internal.admin_key") && refused.stderr.contains("key add"), "{refused:?}");
        if let Location::Sqlite(file) = location(&engine) {
            assert!(!file.exists(), "a look makes no file");
        }
        let store = store::open(&location(&engine), &remgate::domain::RandomSource::from_os()).await.unwrap();
        stored(&*store, 1, Some(Timestamp::UNIX_EPOCH)).await;
        assert_eq!(check("0.0.0.0:0").await.code, Some(78), "one that has expired locks nothing up");
        stored(&*store, 2, None).await;
        let checked = check("0.0.0.0:0").await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
        store.close().await;
        // It locks a listener on loopback, too, which is then not reported as open.
        let service = Launch::new(&["serve"]).config(&text(engine.url(), "")).start().await;
        assert!(!service.log().contains("the internal listener on"), "{}", service.log());
        let internal = Client::at(&service.internal_url());
        internal.get(EVENTS).await.expect(401);
        internal.bearer("rgk_2").get(EVENTS).await.expect(200);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_locks_nothing() {
    let config =
        "database.url = \"postgres://nobody@127.0.0.1:1/none\"\ninternal.listen = \"0.0.0.0:0\"\n".to_owned();
    let refused = Launch::new(&["config", "check"]).config(&config).run().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("internal.admin_key"), "{refused:?}");
}
