//! Statements about rejected callbacks.

dialect! { rejected_after, rejected_before }

macro_rules! page_of_rejected {
    ($services:literal, $after:literal, $order:literal) => {
        concat!(
            "SELECT seq, id, service, trust, source_ip, received_at, reason, request FROM rejected_callbacks \
            WHERE seq ",
            $after,
            " $1 AND (CAST($2 AS TEXT) = '[]' OR service IN (",
            $services,
            ")) ORDER BY seq ",
            $order,
            " LIMIT $3"
        )
    };
}

common! {
    KEEP_REJECTED = "INSERT INTO rejected_callbacks (id, service, trust, source_ip, received_at, reason, request) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    /// Deletes all but the newest $1.
    PRUNE_REJECTED = "DELETE FROM rejected_callbacks WHERE seq <= (SELECT seq FROM rejected_callbacks ORDER BY seq DESC LIMIT 1 OFFSET $1)";
    REJECTED = "SELECT seq, id, service, trust, source_ip, received_at, reason, request FROM rejected_callbacks WHERE id = $1";
    REMOVE_REJECTED = "DELETE FROM rejected_callbacks WHERE id = $1";
}

pub(in crate::store) const SQLITE: Texts = Texts {
    rejected_after: page_of_rejected!("SELECT value FROM json_each($2)", ">", "ASC"),
    rejected_before: page_of_rejected!("SELECT value FROM json_each($2)", "<", "DESC"),
};

pub(in crate::store) const POSTGRES: Texts = Texts {
    rejected_after: page_of_rejected!("SELECT json_array_elements_text(CAST($2 AS json))", ">", "ASC"),
    rejected_before: page_of_rejected!("SELECT json_array_elements_text(CAST($2 AS json))", "<", "DESC"),
};
