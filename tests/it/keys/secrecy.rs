//! Keys appear neither in the log, at any level, nor in the store.

use remgate::domain::KeyDigest;
use sqlx::{Connection, PgConnection};

use super::{ADMIN, locked, with_scopes};
use crate::support::engine::{Engine, both_engines};
use crate::support::process::Launch;
use crate::support::service::{Service, text};

/// All that is at rest, as far as keys could be in it.
async fn at_rest(engine: &Engine) -> Vec<u8> {
    if let Some(file) = engine.url().strip_prefix("sqlite://") {
        let parts = ["", "-wal"].map(|end| std::fs::read(format!("{file}{end}")).unwrap_or_default());
        return parts.concat();
    }
    let mut conn = PgConnection::connect(engine.url()).await.unwrap();
    let rows = "SELECT t::text FROM keys t UNION ALL SELECT t::text FROM idempotency t";
    let rows: Vec<(String,)> = sqlx::query_as(rows).fetch_all(&mut conn).await.unwrap();
    rows.into_iter().flat_map(|(row,)| row.into_bytes()).collect()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

both_engines! {
    async fn a_key_is_in_no_log_and_in_no_store(engine: Engine) {
        let launch = Launch::new(&[]).env("RUST_LOG", "trace").config(&text(engine.url(), &locked()));
        let service = Service::of(launch.start().await);
        let admin = service.internal.clone().bearer(ADMIN).header("idempotency-key", "k");
        let made = with_scopes(&admin, &["events:read"]).await;
        made.on(&service.internal).get("/v1/events").await.expect(200);
        made.on(&service.internal).get("/v1/keys").await.expect(403);
        admin.delete(&made.path()).await.expect(204);
        made.on(&service.internal).get("/v1/events").await.expect(401);
        let kept = with_scopes(&admin, &["admin"]).await;
        kept.on(&service.internal).get("/v1/keys").await.expect(200);
        let planted = "rgk_planted-0123456789-0123456789-0123456789";
        service.internal.clone().bearer(planted).get("/v1/events").await.expect(401);

        let log = service.process.line(|line| line.contains(&kept.id)).await + &service.process.log();
        assert!(log.contains("caller"), "the caller is named: {log}");
        let stored = at_rest(&engine).await;
        let digest = |key: &str| KeyDigest::of(key).to_hex();
        assert!(contains(&stored, &digest(&kept.key)), "the digest is there");
        for key in [&made.key, &kept.key, ADMIN, planted] {
            let random = &key["rgk_".len()..];
            assert!(!log.contains(random) && !contains(&stored, random));
            assert!(!log.contains(&digest(key)), "the log must not hold a digest either");
        }
    }
}
