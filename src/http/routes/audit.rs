//! `/v1/audit`: the audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::context::Context;
use crate::domain::{AuditFilter, Cursor, Invalid, Order, named};
use crate::http::extract::Params;
use crate::http::problem::Problem;
use crate::http::respond::json;

/// State of the route.
pub struct AuditState {
    /// Shared handles.
    pub context: Context,
}

/// `GET /v1/audit`
pub(crate) async fn list(State(state): State<Arc<AuditState>>, params: Params) -> Result<Response, Problem> {
    Ok(json(&state.context.store.audit(&parse(params)?).await?))
}

fn parse(mut params: Params) -> Result<AuditFilter, Problem> {
    let newest_first = params.newest_first()?;
    let after = params.one::<Cursor>("after")?;
    let before = params.one::<Cursor>("before")?;
    let order = match (newest_first, after, before) {
        (false, _, None) => Order::Ascending { after: after.unwrap_or_default() },
        (true, None, _) => Order::Descending { before },
        (false, _, Some(_)) => {
            return Err(Problem::bad_request("`before` goes with order=desc; pass `after` here"));
        }
        (true, Some(_), _) => {
            return Err(Problem::bad_request("order=desc goes without `after`; it pages by `before`"));
        }
    };
    let filter = AuditFilter {
        order,
        limit: params.one("limit")?.unwrap_or_default(),
        actions: params.many("action")?,
        outcomes: params.many("outcome")?,
        who: params.one::<Named>("who")?.map(|name| name.0),
        whom: params.one::<Named>("whom")?.map(|name| named(&name.0)),
        since: params.time("since")?,
        until: params.time("until")?,
    };
    params.finish()?;
    Ok(filter)
}

struct Named(String);

impl std::str::FromStr for Named {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.contains('\0') {
            return Err(Invalid::new("a name is not empty"));
        }
        Ok(Self(text.to_owned()))
    }
}
