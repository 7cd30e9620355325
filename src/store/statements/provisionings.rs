//! Statements about invitation requests.

dialect! { claimable, take_offers }

common! {
    /// Cursor of the rule $1; the newest event at its first start.
    BEGIN_RULE = "INSERT INTO places (name, place) SELECT $1, COALESCE(MAX(seq), 0) FROM events WHERE TRUE \
        ON CONFLICT (name) DO NOTHING";
    RULE_PLACE = "SELECT place FROM places WHERE name = $1";
    /// Reads the oldest events that came before their expectation, with the expectation.
    OFFERS = "SELECT e.seq, e.id, e.type, e.service, e.uaid, e.trust, e.source_ip, e.received_at, e.duplicates, \
            a.subject, a.state, TRUE AS expected, e.late, e.detail \
        FROM provisioning_offers o JOIN events e ON e.seq = o.event_seq \
            JOIN authentications a ON a.uaid = e.uaid AND a.service = e.service \
        ORDER BY o.event_seq LIMIT 100";
    /// Deletes offers that the rule will not read any more.
    DROP_OFFERS = "DELETE FROM provisioning_offers";
    END_RULE = "DELETE FROM places WHERE name = $1";
    MOVE_RULE = "UPDATE places SET place = $2 WHERE name = $1 AND place < $2";
    /// $1 uaid, $2 service, $3 event, $4 address, $5 computers, $6 whether dry, $7 now.
    INVITATION = "INSERT INTO provisionings (uaid, service, event_id, email, computers, dry_run, due_at, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (uaid, service) DO NOTHING";
    /// $1: true to include requests that are no dry runs.
    NEXT_WISH = "SELECT MIN(due_at) AS next FROM provisionings WHERE due_at IS NOT NULL AND (dry_run OR $1)";
    /// $3 lease expiry, $4 lease token, $5 whether an earlier attempt may have reached upstream.
    LEASE_WISH = "UPDATE provisionings SET attempt_count = attempt_count + 1, due_at = $3, lease_token = $4, in_doubt = $5 \
        WHERE uaid = $1 AND service = $2";
    /// $3 lease token, $4 next attempt, $5 whether the outcome is unknown, $6 end, $7 outcome.
    END_WISH = "UPDATE provisionings SET lease_token = NULL, due_at = $4, in_doubt = $5, settled_at = $6, outcome = $7 \
        WHERE uaid = $1 AND service = $2 AND lease_token = $3";
    /// Requests of a process that has ended: their progress is unknown.
    RELEASE_INVITATIONS = "UPDATE provisionings SET due_at = $1, in_doubt = TRUE, lease_token = NULL \
        WHERE lease_token IS NOT NULL";
    FORGET_WISHES = "DELETE FROM provisionings WHERE settled_at < $1";
}

/// The longest due, at $1; $2: whether those count that are not dry. After an expired lease the outcome is unknown.
macro_rules! claimable {
    ($lock:literal) => {
        concat!(
            "SELECT uaid, service, event_id, email, computers, dry_run, attempt_count, \
                CASE WHEN lease_token IS NULL THEN in_doubt ELSE TRUE END AS in_doubt \
            FROM provisionings WHERE due_at <= $1 AND (dry_run OR $2) ORDER BY due_at LIMIT 1",
            $lock
        )
    };
}

pub(in crate::store) const SQLITE: Texts = Texts {
    claimable: claimable!(""),
    take_offers: "DELETE FROM provisioning_offers WHERE event_seq IN (SELECT value FROM json_each($1))",
};

pub(in crate::store) const POSTGRES: Texts = Texts {
    claimable: claimable!(" FOR UPDATE SKIP LOCKED"),
    take_offers: "DELETE FROM provisioning_offers \
        WHERE event_seq IN (SELECT CAST(json_array_elements_text(CAST($1 AS json)) AS BIGINT))",
};
