//! `/v1/remotepc/users`: the reseller's users, filtered, sorted and counted, as JSON or CSV.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::audited::{AuditedRemotePc, Failure, RequestActor};
use crate::domain::{Cursor, Invalid, Limit, defused, iso_millis};
use crate::http::extract::{Direction, Params};
use crate::http::problem::Problem;
use crate::http::respond::{json, with_body};
use crate::remotepc::{Listing, Operation, SortBy, Totals, User, UserFilter, UserListCache, UserListError};

/// State of the route.
pub struct RemotePcUsersState {
    /// User list cache.
    pub directory: Arc<UserListCache>,
    /// Audited client of upstream.
    pub remotepc: AuditedRemotePc,
}

/// Page of users. The totals count all users that match the filter.
#[derive(Serialize)]
struct UserPage<'a> {
    data: &'a [User],
    cursor: Cursor,
    has_more: bool,
    totals: Totals,
    /// Time of the call to upstream.
    as_of: String,
}

/// Query of the request.
struct UsersQuery {
    filter: UserFilter,
    by: SortBy,
    descending: bool,
    limit: Limit,
    after: usize,
    refresh: bool,
    csv: bool,
}

/// `GET /v1/remotepc/users`
pub(crate) async fn list(
    State(state): State<Arc<RemotePcUsersState>>,
    actor: RequestActor,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let query = parse(params, &headers)?;
    let listing = state.listing(actor, query.refresh).await?;
    let users = listing.select(&query.filter, query.by, query.descending);
    if query.csv {
        return csv(&users);
    }
    let from = query.after.min(users.len());
    let to = from.saturating_add(query.limit.get()).min(users.len());
    Ok(json(&UserPage {
        data: &users[from..to],
        cursor: Cursor(i64::try_from(to).unwrap_or(i64::MAX)),
        has_more: to < users.len(),
        totals: Totals::of(&users),
        as_of: iso_millis::text(listing.as_of),
    }))
}

impl RemotePcUsersState {
    /// Returns the cached list, or calls upstream when it is too old. Only calls have audit entries.
    async fn listing(&self, actor: RequestActor, refresh: bool) -> Result<Listing, Problem> {
        let remotepc = self.remotepc.clone();
        let directory = Arc::clone(&self.directory);
        let work = async move {
            let ask = async {
                let answer = remotepc.ask(&actor, Operation::List, &[], remotepc.client.list()).await;
                answer.map_err(UsersError::Failure)
            };
            directory.list(refresh, ask).await
        };
        let listing = self.remotepc.to_its_end(work).await.ok_or_else(Problem::internal)?;
        Ok(listing?)
    }
}

/// Reason why there is no list.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum UsersError {
    #[error(transparent)]
    Failure(Failure),
    #[error(transparent)]
    Unusable(#[from] UserListError),
}

fn parse(mut params: Params, headers: &HeaderMap) -> Result<UsersQuery, Problem> {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Sorted(by) = params.one("sort")?.unwrap_or_default();
    let after: Cursor = params.one("after")?.unwrap_or_default();
    let query = UsersQuery {
        filter: UserFilter {
            name: params.one("q")?,
            active: params.one::<Flag>("active")?.map(|flag| flag.0),
        },
        by,
        descending: params.one("order")? == Some(Direction::Descending),
        limit: params.one("limit")?.unwrap_or_default(),
        after: usize::try_from(after.0).unwrap_or(usize::MAX),
        refresh: params.one::<Flag>("refresh")?.is_some_and(|flag| flag.0),
        csv: params
            .one::<ListFormat>("format")?
            .map_or(accepts.starts_with("text/csv"), |format| format == ListFormat::Csv),
    };
    params.finish()?;
    Ok(query)
}

#[derive(Default)]
struct Sorted(SortBy);

impl FromStr for Sorted {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(Self(match text {
            "username" => SortBy::Username,
            "allotted_computers" => SortBy::Allotted,
            "used_computers" => SortBy::Used,
            "created_on" => SortBy::Created,
            _ => {
                return Err(Invalid::new(
                    "users are sorted by username, allotted_computers, used_computers or created_on",
                ));
            }
        }))
    }
}

struct Flag(bool);

impl FromStr for Flag {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "1" | "true" => Ok(Self(true)),
            "0" | "false" => Ok(Self(false)),
            _ => Err(Invalid::new("a flag is 1, 0, true or false")),
        }
    }
}

#[derive(PartialEq, Eq)]
enum ListFormat {
    Json,
    Csv,
}

impl FromStr for ListFormat {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(Invalid::new("a format is json or csv")),
        }
    }
}

/// Returns all matching users on one page: a spreadsheet has no cursor.
fn csv(users: &[User]) -> Result<Response, Problem> {
    let table = table(users).map_err(|_| Problem::internal())?;
    let mut response = with_body(StatusCode::OK, "text/csv; charset=utf-8", table);
    response.headers_mut().insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"remotepc-users.csv\""),
    );
    Ok(response)
}

fn table(users: &[User]) -> Result<Vec<u8>, ::csv::Error> {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    table.write_record(["username", "active", "allotted_computers", "used_computers", "created_on"])?;
    for user in users {
        table.write_record([
            defused(&user.username),
            user.active.to_string(),
            user.allotted_computers.to_string(),
            user.used_computers.to_string(),
            user.created_on.map(|day| day.to_string()).unwrap_or_default(),
        ])?;
    }
    table.into_inner().map_err(|e| e.into_error().into())
}
