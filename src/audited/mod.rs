//! Operations at RemotePC with their audit entries: an entry is written before and completed after each call, and a
//! call goes on after its client has left.

mod actor;
mod recorder;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tracing::Instrument;

pub use actor::RequestActor;
pub use recorder::{ActionOutcome, AuditRecorder, OpenEntries};

use crate::context::Context;
use crate::domain::{named, sanitize_code};
use crate::remotepc::{CallError, Client, InviteResult, Operation, Refusal, UpstreamResponse};
use crate::store::StoreError;

/// Client of upstream that writes audit entries and metrics.
#[derive(Clone)]
pub struct AuditedRemotePc {
    /// Upstream.
    pub client: Arc<Client>,
    /// Writer of audit entries.
    pub trail: AuditRecorder,
    /// Shared handles.
    pub context: Context,
}

/// Reason why there is no answer of upstream.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request does not follow the upstream document.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The body is too large.
    #[error("the body is larger than it may be")]
    TooLarge,
    /// The body took longer to arrive than it may.
    #[error("the body did not arrive in time")]
    RequestTimeout,
    /// The audit entry could not be written, so the call was not made.
    #[error("failed to write the audit entry: {0}")]
    Unrecorded(StoreError),
    /// Upstream gave no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Maximum number of users of a refused request that the audit log names: nothing was done to them.
const REFUSED_MAX: usize = 100;

impl AuditedRemotePc {
    /// Runs work to its end, also when its client disconnects. Returns `None` when the work panicked or was dropped at the end of the
    /// process.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let hard = self.context.lifecycle.hard().clone();
        let work = async move {
            // The client may have left.
            let _ = tell.send(work.await);
        };
        let work = async move {
            hard.run_until_cancelled_owned(work).await;
        };
        self.context.lifecycle.spawn(work.in_current_span());
        told.await.ok()
    }

    /// Makes a call for an actor, after its audit entries are written.
    pub async fn ask(
        &self,
        actor: &RequestActor,
        operation: Operation,
        whom: &[String],
        call: impl Future<Output = Result<UpstreamResponse, CallError>>,
    ) -> Result<UpstreamResponse, Failure> {
        let result = match self.trail.begin(actor, action(operation), whom).await {
            Ok(entries) => {
                let result = call.await.map_err(Failure::Call);
                entries.end_each(ends(&result, whom)).await;
                result
            }
            Err(e) => Err(Failure::Unrecorded(e)),
        };
        self.context.metrics.remotepc(operation.as_str(), outcome(&result));
        result
    }

    /// Writes an audit entry about a request that was refused without a call. Returns the failure, or that of the entry.
    pub async fn refuse(
        &self,
        actor: &RequestActor,
        operation: Operation,
        whom: &[String],
        failure: Failure,
    ) -> Failure {
        self.refuse_as(actor, action(operation), operation, whom, failure).await
    }

    /// Like [`refuse`](Self::refuse), with another audit action.
    pub async fn refuse_as(
        &self,
        actor: &RequestActor,
        action: &'static str,
        operation: Operation,
        whom: &[String],
        failure: Failure,
    ) -> Failure {
        let whom = &whom[..whom.len().min(REFUSED_MAX)];
        let failure = match self.trail.begin(actor, action, whom).await {
            Ok(entries) => {
                entries.end(&failure.end()).await;
                failure
            }
            Err(e) => Failure::Unrecorded(e),
        };
        self.context.metrics.remotepc(operation.as_str(), failure.outcome());
        failure
    }
}

/// Audit action of an operation.
#[must_use]
pub fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "remotepc.add",
        Operation::Invite => "remotepc.invite",
        Operation::SignIn => "remotepc.signin",
        Operation::List => "remotepc.list",
    }
}

impl Failure {
    /// Returns the label of logs, metrics and the audit log.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::TooLarge | Self::RequestTimeout => "refused",
            Self::Unrecorded(_) => "unrecorded",
            Self::Call(error) => error.outcome(),
        }
    }

    /// Returns the status of the answer, and the error codes in it.
    #[must_use]
    pub fn told(&self) -> (StatusCode, Vec<&'static str>) {
        match self {
            Self::Refused(refused) => {
                (StatusCode::BAD_REQUEST, refused.words().iter().map(|word| word.as_str()).collect())
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, vec!["PAYLOAD_TOO_LARGE"]),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, vec!["REQUEST_TIMEOUT"]),
            Self::Unrecorded(_) => (StatusCode::SERVICE_UNAVAILABLE, vec!["UNAVAILABLE"]),
            Self::Call(error) => (error.status(), vec![error.word()]),
        }
    }

    fn end(&self) -> ActionOutcome {
        let mut detail = Map::new();
        if let Self::Call(error) = self {
            detail
                .extend(error.upstream_status().map(|status| ("status".to_owned(), status.as_u16().into())));
        } else {
            let words: BTreeSet<_> = self.told().1.into_iter().collect();
            detail.insert("errors".to_owned(), json!(words));
        }
        ActionOutcome { outcome: self.outcome(), detail: (!detail.is_empty()).then(|| detail.into()) }
    }
}

/// Returns the label of a call's result.
pub fn outcome(result: &Result<UpstreamResponse, Failure>) -> &'static str {
    match result {
        Ok(answer) if answer.is_success() => "ok",
        Ok(_) => "upstream_error",
        Err(failure) => failure.outcome(),
    }
}

/// Audit outcome of one call.
pub fn end(result: &Result<UpstreamResponse, Failure>) -> ActionOutcome {
    match result {
        Ok(answer) => {
            let words = answer.error_words();
            let mut detail = json!({"status": answer.status().as_u16()});
            if !answer.is_success() {
                detail["code"] = answer.code().into();
                detail["errors"] = json!(words);
            }
            ActionOutcome { outcome: outcome(result), detail: Some(detail) }
        }
        Err(failure) => failure.end(),
    }
}

/// Audit outcomes of a call for each of its users. An invitation of several users has a result for each.
fn ends(result: &Result<UpstreamResponse, Failure>, whom: &[String]) -> Vec<ActionOutcome> {
    let all = end(result);
    let results = result.as_ref().ok().and_then(|answer| answer.invite_results().ok()).unwrap_or_default();
    let of = |result: &InviteResult| {
        (named(result.username.as_str()), sanitize_code(result.status.as_str()).to_owned())
    };
    let by_name: HashMap<_, _> = results.iter().map(of).collect();
    let one = |(place, name): (usize, &String)| {
        let name = named(name);
        let mut end = all.clone();
        let here = results.get(place).map(of).filter(|(user, _)| *user == name).map(|(_, status)| status);
        let status = here.or_else(|| by_name.get(&name).cloned());
        if let (Some(status), Some(Value::Object(detail))) = (status, &mut end.detail) {
            detail.insert("result".to_owned(), status.into());
        }
        end
    };
    if whom.is_empty() { vec![all] } else { whom.iter().enumerate().map(one).collect() }
}
