//! Statements about consumers.

/// Consumers with what is behind them: $3 is how many events are counted at the most.
macro_rules! standing_consumers {
    ($which:literal) => {
        concat!(
            "SELECT name, place, created_at, updated_at, \
                (SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE events.seq > consumers.place LIMIT $3) AS those) AS behind \
            FROM consumers WHERE service = $1 AND name ",
            $which
        )
    };
}

common! {
    /// $1 owner, $2 name.
    CONSUMER_PLACE = "SELECT place FROM consumers WHERE service = $1 AND name = $2";
    CONSUMER = standing_consumers!("= $2");
    CONSUMERS = standing_consumers!("> $2 ORDER BY name LIMIT $4");
    /// Creates a consumer at $3, or before the oldest event without $3, unless the owner has $5 consumers.
    CREATE_CONSUMER = "INSERT INTO consumers (service, name, place, created_at, updated_at) \
        SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), \
            COALESCE(CAST($3 AS BIGINT), (SELECT MIN(seq) - 1 FROM events), 0), CAST($4 AS BIGINT), CAST($4 AS BIGINT) \
        WHERE (SELECT COUNT(*) FROM consumers WHERE service = CAST($1 AS TEXT)) < $5 \
        ON CONFLICT (service, name) DO NOTHING";
    ADVANCE_CONSUMER = "UPDATE consumers SET place = $3, updated_at = $4 \
        WHERE service = $1 AND name = $2 AND place < $3";
    MOVE_CONSUMER = "UPDATE consumers SET place = $3, updated_at = $4 \
        WHERE service = $1 AND name = $2 AND place <> $3";
    REMOVE_CONSUMER = "DELETE FROM consumers WHERE service = $1 AND name = $2";
    /// The first event at $1 or after it.
    EVENT_FROM = "SELECT seq, received_at FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1";
    /// The first event after $1 that was received at $2 or later.
    EVENT_SINCE = "SELECT seq FROM events WHERE seq > $1 AND received_at >= $2 ORDER BY seq LIMIT 1";
}
