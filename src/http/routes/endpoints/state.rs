//! State of the routes about endpoints, and what they share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use crate::context::Context;
use crate::domain::{EditRefusal, Endpoint, EndpointEdit, EndpointId, EndpointUrl, ServiceName};
use crate::egress::{Guard, Sender};
use crate::http::problem::Problem;
use crate::store::{EditError, Edited};

/// State of the routes about endpoints.
pub struct EndpointsState {
    /// Shared handles.
    pub context: Context,
    /// Egress guard, for early refusals.
    pub guard: Arc<Guard>,
    /// Sender of tests.
    pub sender: Arc<Sender>,
    /// Services that an endpoint may name.
    pub services: Vec<ServiceName>,
    /// Location of the declared endpoints, for people.
    pub declared_in: String,
    /// Settings of endpoints without their own.
    pub defaults: SendingDefaults,
}

/// Configured defaults of endpoints.
#[derive(Debug, Clone)]
pub struct SendingDefaults {
    /// The waits after attempt 1, 2, ...
    pub schedule: Vec<Duration>,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Maximum number of concurrent attempts.
    pub max_in_flight: usize,
}

/// State of a request about endpoints.
pub(super) type SharedEndpoints = State<Arc<EndpointsState>>;

impl EndpointsState {
    pub(super) async fn find(&self, id: &EndpointId) -> Result<Endpoint, Problem> {
        let found = self.context.store.endpoints_named(std::slice::from_ref(id)).await?;
        found.into_iter().next().ok_or_else(|| missing(id))
    }

    pub(super) async fn edit(&self, id: &EndpointId, edit: EndpointEdit) -> Result<Endpoint, Problem> {
        let edited = self.context.store.edit_endpoint(id, &edit, self.context.clock.now()).await?;
        let Edited { endpoint, committed } = edited.map_err(|unedited| self.problem(id, unedited))?;
        // Before the answer: a confirmed change is in force for every attempt that begins later.
        self.context.announce(&committed);
        Ok(endpoint)
    }

    /// Fails when the egress guard would refuse the first attempt.
    pub(super) async fn check(&self, url: &EndpointUrl) -> Result<(), Problem> {
        self.guard
            .check_resolves(url)
            .await
            .map_err(|refusal| Problem::unprocessable(format!("the url is refused: {refusal}")))
    }

    pub(super) fn problem(&self, id: &EndpointId, unedited: EditError) -> Problem {
        let place = &self.declared_in;
        match unedited {
            EditError::Missing => missing(id),
            EditError::NameTaken(name) => {
                Problem::conflict(format!("there is an endpoint named `{name}`; names are unique"))
            }
            EditError::Refused(name, EditRefusal::Declared) => Problem::conflict(format!(
                "the endpoint `{name}` is declared in {place}; change it there and start again"
            )),
            EditError::Refused(name, EditRefusal::Undeclared) => Problem::conflict(format!(
                "the endpoint `{name}` was declared in the configuration and is not any more; it can be removed, or \
                 declared in {place} again"
            )),
            EditError::Refused(name, EditRefusal::Enabled) => Problem::conflict(format!(
                "the endpoint `{name}` is enabled; everything else about it is declared in {place}"
            )),
            EditError::Refused(_, EditRefusal::Invalid(why)) => Problem::unprocessable(why.to_string()),
        }
    }
}

fn missing(id: &EndpointId) -> Problem {
    Problem::not_found(format!("there is no endpoint {id}"))
}
