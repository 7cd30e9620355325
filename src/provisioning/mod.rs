//! Provisioning rule: invites users to `RemotePC` after a registration whose expectation named their address.
//!
//! Events are read in order from a stored cursor. Each that the rule concerns becomes an invitation request, one for
//! each authentication. A request is acted on under a lease, one at a time, so that the rule never uses more than one
//! of upstream's permits. A request that may have arrived is looked up in upstream's list before it is repeated.
//! Callbacks do not wait for any of this, and the module does not depend on how events are stored or delivered.

mod outcome;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::audited::{ActionOutcome, AuditedRemotePc, Failure, RequestActor, action};
use crate::context::Context;
use crate::domain::{
    Cursor, EventFilter, EventType, InvitationRequest, InvitationRule, LeaseToken, NewEvent, Order,
    ProvisioningAttempt, ProvisioningEnd, Retry, RetryPolicy, named,
};
use crate::remotepc::{Invitation, InviteUsers, Operation, UpstreamResponse, UserListCache};
use crate::store::StoreError;
use outcome::{InvitationOutcome, judge};

/// Settings and parts of the rule.
pub struct ProvisionerParts {
    /// Audited client of upstream.
    pub remotepc: AuditedRemotePc,
    /// User list cache, dropped after each invitation.
    pub directory: Arc<UserListCache>,
    /// Settings of the rule.
    pub rule: InvitationRule,
    /// Retry policy.
    pub policy: RetryPolicy,
    /// Maximum time for one call to upstream.
    pub timeout: Duration,
}

/// Invites users who have signed up.
pub struct Provisioner {
    context: Context,
    parts: ProvisionerParts,
    cursor: Cursor,
}

/// Actor of the rule in the audit log.
const ACTOR: &str = "provisioning";

/// Minimum time between two reads of events. No request waits for an invitation.
const PACE: Duration = Duration::from_millis(200);

/// Maximum time between two reads: another replica may have ended while it held a lease.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Time of a lease in addition to two calls to upstream, for writes to the store.
const LEASE_MARGIN: Duration = Duration::from_secs(30);

impl Provisioner {
    /// Reads the cursor of the rule. At its first start the rule begins after the newest event.
    pub async fn open(context: Context, parts: ProvisionerParts) -> Result<Self, StoreError> {
        let cursor = context.store.begin_provisioning().await?;
        Ok(Self { context, parts, cursor })
    }

    /// Works until the soft stop, and finishes what it is acting on.
    pub async fn run(mut self) {
        let soft = self.context.lifecycle.soft().clone();
        let hard = self.context.lifecycle.hard().clone();
        let clock = Arc::clone(&self.context.clock);
        let mut events = self.context.notifier.watch_events();
        while !soft.is_cancelled() {
            let Some(worked) = hard.run_until_cancelled(self.work()).await else { return };
            let then = worked.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "failed to read invitation requests; trying again");
                Timestamp::MAX
            });
            tokio::select! {
                () = events.woken() => {}
                () = clock.sleep_until(then) => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = soft.cancelled() => {}
            }
            // Limits the rate of reads, however fast events arrive.
            soft.run_until_cancelled(tokio::time::sleep(PACE)).await;
        }
    }

    /// Stores the requests of new events, and acts on all due ones. Returns the time of the next due request.
    async fn work(&mut self) -> Result<Timestamp, StoreError> {
        self.read_events().await?;
        self.read_early_events().await?;
        while !self.context.lifecycle.soft().is_cancelled() {
            let now = self.context.clock.now();
            let token = LeaseToken::new(now, &self.context.rng);
            let until = now.checked_add(self.parts.timeout * 2 + LEASE_MARGIN).unwrap_or(Timestamp::MAX);
            let Some(attempt) = self.context.store.claim_wish(self.acts(), &token, until, now).await? else {
                break;
            };
            self.act(&attempt, &token).await?;
        }
        Ok(self.context.store.next_invitation(self.acts()).await?.unwrap_or(Timestamp::MAX))
    }

    fn acts(&self) -> bool {
        !self.parts.rule.dry_run
    }

    async fn read_events(&mut self) -> Result<(), StoreError> {
        loop {
            let page = self.context.store.events(&filter(self.cursor)).await?;
            let invitations: Vec<_> =
                page.data.iter().filter_map(|event| self.parts.rule.invitation(event)).collect();
            // The cursor moves past events without a request, also for a rule that is changed later.
            if page.cursor > self.cursor {
                self.context.store.invitation(&invitations, page.cursor, self.context.clock.now()).await?;
            }
            self.cursor = page.cursor;
            if !page.has_more {
                return Ok(());
            }
        }
    }

    /// Stores the requests of events that came before their expectation.
    async fn read_early_events(&self) -> Result<(), StoreError> {
        loop {
            let events = self.context.store.provisioning_offers().await?;
            if events.is_empty() {
                return Ok(());
            }
            let invitations: Vec<_> =
                events.iter().filter_map(|event| self.parts.rule.invitation(event)).collect();
            let cursors: Vec<_> = events.iter().map(|event| event.cursor).collect();
            self.context.store.wish_offered(&invitations, &cursors, self.context.clock.now()).await?;
        }
    }

    async fn act(&self, attempt: &ProvisioningAttempt, token: &LeaseToken) -> Result<(), StoreError> {
        let verdict = if attempt.invitation.dry_run {
            self.say(&attempt.invitation).await
        } else {
            self.invite(attempt).await
        };
        let now = self.context.clock.now();
        let end = self.follows(verdict, attempt, now);
        let committed = self.context.store.end_wish(&attempt.invitation.name, token, &end, now).await?;
        if let Some(committed) = &committed {
            self.context.announce(committed);
        }
        match (committed, end) {
            (None, _) => {
                tracing::warn!(
                    "the lease of an invitation request expired during the attempt; another process continues"
                );
            }
            (Some(_), ProvisioningEnd::Settled { outcome, .. }) => {
                tracing::info!(outcome, event = %attempt.invitation.event, attempts = attempt.number, "finished an invitation request");
            }
            (Some(_), ProvisioningEnd::Again { .. }) => {
                tracing::info!(event = %attempt.invitation.event, attempts = attempt.number, "failed to invite a user; trying again later");
            }
        }
        Ok(())
    }

    /// Writes an audit entry about the user that would have been invited.
    async fn say(&self, invitation: &InvitationRequest) -> InvitationOutcome {
        let actor = RequestActor::rule(ACTOR);
        match self
            .parts
            .remotepc
            .trail
            .begin(&actor, action(Operation::Invite), std::slice::from_ref(&invitation.email))
            .await
        {
            Ok(entries) => {
                let detail = Some(json!({ "computers": invitation.computers }));
                entries.end(&ActionOutcome { outcome: "dry_run", detail }).await;
                InvitationOutcome::Said
            }
            Err(e) => InvitationOutcome::unrecorded(&e, false),
        }
    }

    async fn invite(&self, attempt: &ProvisioningAttempt) -> InvitationOutcome {
        let request = &attempt.invitation;
        let invitation =
            Invitation { email: request.email.clone(), computers: Some(u64::from(request.computers)) };
        let users = match InviteUsers::try_from(&[invitation][..]) {
            Ok(users) => users,
            Err(refusal) => return judge(&Err(Failure::Refused(refusal)), attempt, self.context.clock.now()),
        };
        if attempt.in_doubt {
            match self.is_listed(&request.email).await {
                Ok(true) => return InvitationOutcome::listed(),
                Ok(false) => {}
                Err(verdict) => return verdict,
            }
        }
        let actor = RequestActor::rule(ACTOR);
        let whom = std::slice::from_ref(&request.email);
        let call = self.parts.remotepc.client.invite(&users);
        let result = self.parts.remotepc.ask(&actor, Operation::Invite, whom, call).await;
        // In a task of its own: a request for the list may hold the cache's lock for as long as upstream takes.
        let directory = Arc::clone(&self.parts.directory);
        self.context.lifecycle.spawn(async move { directory.forget().await });
        judge(&result, attempt, self.context.clock.now())
    }

    /// Returns whether upstream's list has the address: an earlier attempt may have arrived although its answer was
    /// lost.
    async fn is_listed(&self, email: &str) -> Result<bool, InvitationOutcome> {
        let call = self.parts.remotepc.client.list();
        let result = self.parts.remotepc.ask(&RequestActor::rule(ACTOR), Operation::List, &[], call).await;
        let users = match &result {
            Ok(answer) if answer.is_success() => answer.users().ok(),
            _ => None,
        };
        let users =
            users.ok_or_else(|| InvitationOutcome::still_in_doubt(&result, self.context.clock.now()))?;
        Ok(users.iter().any(|user| named(user.username.as_str()) == named(email)))
    }

    /// Next step of an invitation request, with the event about its end.
    fn follows(
        &self,
        verdict: InvitationOutcome,
        attempt: &ProvisioningAttempt,
        now: Timestamp,
    ) -> ProvisioningEnd {
        let (event_type, facts) = match verdict {
            InvitationOutcome::Said => return ProvisioningEnd::Settled { outcome: "dry_run", event: None },
            InvitationOutcome::Invited(facts) => (EventType::UserInvited, facts),
            InvitationOutcome::Exists(facts) => (EventType::UserExists, facts),
            InvitationOutcome::Failed(facts) => (EventType::UserFailed, facts),
            InvitationOutcome::Again { in_doubt, hint, facts } => {
                match self.parts.policy.next(attempt.number, now, hint, self.context.rng.fraction()) {
                    Retry::At(at) => return ProvisioningEnd::Again { at, in_doubt },
                    Retry::Never => (EventType::UserFailed, facts),
                }
            }
        };
        let outcome = event_type.as_str().rsplit('.').next().unwrap_or_default();
        let event = self.event(event_type, facts, attempt, now);
        ProvisioningEnd::Settled { outcome, event: Some(event) }
    }

    fn event(
        &self,
        event_type: EventType,
        mut facts: serde_json::Map<String, serde_json::Value>,
        attempt: &ProvisioningAttempt,
        now: Timestamp,
    ) -> NewEvent {
        let invitation = &attempt.invitation;
        facts.insert("event".to_owned(), json!(invitation.event));
        facts.insert("email".to_owned(), json!(invitation.email));
        facts.insert("computers".to_owned(), json!(invitation.computers));
        facts.insert("attempt_count".to_owned(), json!(attempt.number));
        NewEvent {
            service: Some(invitation.name.service.clone()),
            uaid: Some(invitation.name.uaid),
            detail: Some(facts.into()),
            ..NewEvent::operational(event_type, now, &self.context.rng)
        }
    }
}

/// Returns the filter of the events after a cursor that the rule may concern.
fn filter(after: Cursor) -> EventFilter {
    EventFilter { types: InvitationRule::TYPES.to_vec(), ..EventFilter::new(Order::Ascending { after }) }
}
