//! `/v1/audit`: the audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::context::Context;
use crate::domain::{AuditFilter, Invalid, named};
use crate::http::extract::{Paging, Params};
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
    let Paging { order, limit } = Paging::read(&mut params)?;
    let filter = AuditFilter {
        order,
        limit,
        actions: params.many("action")?,
        outcomes: params.many("outcome")?,
        who: params.one::<NonEmpty>("who")?.map(|name| name.0),
        whom: params.one::<NonEmpty>("whom")?.map(|name| named(&name.0)),
        since: params.time("since")?,
        until: params.time("until")?,
    };
    params.finish()?;
    Ok(filter)
}

struct NonEmpty(String);

impl std::str::FromStr for NonEmpty {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.contains('\0') {
            return Err(Invalid::new("a name is not empty"));
        }
        Ok(Self(text.to_owned()))
    }
}
