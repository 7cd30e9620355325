//! The provisioning rule at work: whoever has signed up with an address that the app had said is invited to `RemotePC`.
//!
//! Events are read in order from a place that is kept; what they ask for is kept as wishes, one for each authentication; a
//! wish is acted on under a lease, one after the other, so that the rule never takes more than one of upstream's places
//! from the support desk. What may have been done without our knowing is looked up before it is done again. Callbacks do
//! not wait for any of this, and nothing here knows how events are stored or delivered.

mod verdict;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::desk::{Asker, Desk, End, Failure, action};
use crate::domain::{
    Chance, Clock, Cursor, EventFilter, EventId, EventType, LeaseToken, NewEvent, Order, Provisioning,
    ProvisioningAttempt, ProvisioningEnd, ProvisioningRule, Retry, RetryPolicy, Trust, named,
};
use crate::lifecycle::Lifecycle;
use crate::remotepc::{Answer, Directory, Invitation, InviteUsers, Operation};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use crate::wake::Wake;
use verdict::{Verdict, judge};

/// What the rule needs.
pub struct Parts {
    /// Where events and wishes are.
    pub store: Arc<dyn Store>,
    /// Where upstream is asked, and all that is done is written down.
    pub desk: Desk,
    /// Which invitations make old.
    pub directory: Arc<Directory>,
    /// Who says that there are events, and who is told of new ones.
    pub wake: Wake,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What makes names.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Metrics,
    /// When to stop.
    pub lifecycle: Lifecycle,
    /// Whom to invite.
    pub rule: ProvisioningRule,
    /// When to try again.
    pub policy: RetryPolicy,
    /// How long one call to upstream may take.
    pub timeout: Duration,
}

/// Invites who has signed up.
pub struct Provisioner {
    parts: Parts,
    place: Cursor,
}

/// Who the audit trail says it was.
const WHO: &str = "provisioning";

/// The least between two looks at the events: nobody waits for an invitation as they do for a page.
const PACE: Duration = Duration::from_millis(200);

/// How long it sleeps at most: another replica may have died with what it was acting on.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a lease has beside two calls to upstream, for the store.
const ROOM: Duration = Duration::from_secs(30);

impl Provisioner {
    /// Takes its place among the events. Everything that is stored from then on is its business.
    pub async fn open(parts: Parts) -> Result<Self, StoreError> {
        let place = parts.store.begin_provisioning().await?;
        Ok(Self { parts, place })
    }

    /// Works until the soft stop, and finishes what it is acting on.
    pub async fn run(mut self) {
        let soft = self.parts.lifecycle.soft().clone();
        let hard = self.parts.lifecycle.hard().clone();
        let clock = Arc::clone(&self.parts.clock);
        let mut events = self.parts.wake.watch_events();
        while !soft.is_cancelled() {
            let Some(worked) = hard.run_until_cancelled(self.work()).await else { return };
            let then = worked.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "could not look whom to invite to RemotePC; will try again");
                Timestamp::MAX
            });
            tokio::select! {
                () = events.woken() => {}
                () = clock.sleep_until(then) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = soft.cancelled() => {}
            }
            // However fast events come, they are looked at in pages.
            soft.run_until_cancelled(tokio::time::sleep(PACE)).await;
        }
    }

    /// Keeps what new events ask for, and does all that is due. Says when the next is.
    async fn work(&mut self) -> Result<Timestamp, StoreError> {
        self.read_events().await?;
        self.read_early_events().await?;
        while !self.parts.lifecycle.soft().is_cancelled() {
            let now = self.parts.clock.now();
            let token = LeaseToken::new(now, &self.parts.chance);
            let until = now.checked_add(self.parts.timeout * 2 + ROOM).unwrap_or(Timestamp::MAX);
            let Some(attempt) = self.parts.store.claim_wish(self.acts(), &token, until, now).await? else {
                break;
            };
            self.act(&attempt, &token).await?;
        }
        Ok(self.parts.store.next_wish(self.acts()).await?.unwrap_or(Timestamp::MAX))
    }

    fn acts(&self) -> bool {
        !self.parts.rule.dry_run
    }

    async fn read_events(&mut self) -> Result<(), StoreError> {
        loop {
            let page = self.parts.store.events(&filter(self.place)).await?;
            let wishes: Vec<_> = page.data.iter().filter_map(|event| self.parts.rule.wish(event)).collect();
            // What asked for nothing is passed for good, also when the rule is another after the next start.
            if page.cursor > self.place {
                self.parts.store.wish(&wishes, page.cursor, self.parts.clock.now()).await?;
            }
            self.place = page.cursor;
            if !page.has_more {
                return Ok(());
            }
        }
    }

    /// Keeps what events ask for that came before their expectation.
    async fn read_early_events(&self) -> Result<(), StoreError> {
        loop {
            let events = self.parts.store.provisioning_offers().await?;
            if events.is_empty() {
                return Ok(());
            }
            let wishes: Vec<_> = events.iter().filter_map(|event| self.parts.rule.wish(event)).collect();
            let cursors: Vec<_> = events.iter().map(|event| event.cursor).collect();
            self.parts.store.wish_offered(&wishes, &cursors, self.parts.clock.now()).await?;
        }
    }

    async fn act(&self, attempt: &ProvisioningAttempt, token: &LeaseToken) -> Result<(), StoreError> {
        let verdict =
            if attempt.wish.dry_run { self.say(&attempt.wish).await } else { self.invite(attempt).await };
        let now = self.parts.clock.now();
        let end = self.follows(verdict, attempt, now);
        let owed = self.parts.store.end_wish(&attempt.wish.name, token, &end, now).await?;
        match (owed, end) {
            (None, _) => {
                tracing::warn!("an invitation took longer than its lease; another process goes on with it");
            }
            (Some(owed), ProvisioningEnd::Settled { outcome, event }) => {
                tracing::info!(outcome, event = %attempt.wish.event, attempts = attempt.number, "the provisioning rule has acted");
                self.announce(event.map(|it| it.event_type), owed);
            }
            (Some(_), ProvisioningEnd::Again { .. }) => {
                tracing::info!(event = %attempt.wish.event, attempts = attempt.number, "an invitation will be tried again");
            }
        }
        Ok(())
    }

    /// Writes down whom it would have invited.
    async fn say(&self, wish: &Provisioning) -> Verdict {
        let asker = Asker::rule(WHO);
        match self
            .parts
            .desk
            .trail
            .begin(&asker, action(Operation::Invite), std::slice::from_ref(&wish.email))
            .await
        {
            Ok(entries) => {
                let detail = Some(json!({ "computers": wish.computers }));
                entries.end(&End { outcome: "dry_run", detail }).await;
                Verdict::Said
            }
            Err(e) => Verdict::unrecorded(&e, false),
        }
    }

    async fn invite(&self, attempt: &ProvisioningAttempt) -> Verdict {
        let wish = &attempt.wish;
        let invitation =
            [Invitation { email: wish.email.clone(), computers: Some(u64::from(wish.computers)) }];
        let users = match InviteUsers::try_from(&invitation[..]) {
            Ok(users) => users,
            Err(refusal) => return judge(&Err(Failure::Refused(refusal)), attempt, self.parts.clock.now()),
        };
        if attempt.in_doubt {
            match self.is_listed(&wish.email).await {
                Ok(true) => return Verdict::listed(),
                Ok(false) => {}
                Err(verdict) => return verdict,
            }
        }
        let (asker, whom) = (Asker::rule(WHO), std::slice::from_ref(&wish.email));
        let call = self.parts.desk.client.invite(&users);
        let result = self.parts.desk.ask(&asker, Operation::Invite, whom, call).await;
        // Beside this: who asks for the list at the moment may hold it for as long as upstream takes.
        let directory = Arc::clone(&self.parts.directory);
        self.parts.lifecycle.spawn(async move { directory.forget().await });
        judge(&result, attempt, self.parts.clock.now())
    }

    /// Whether upstream's list has this address: an attempt before may have reached it without our knowing.
    async fn is_listed(&self, email: &str) -> Result<bool, Verdict> {
        let call = self.parts.desk.client.list();
        let result = self.parts.desk.ask(&Asker::rule(WHO), Operation::List, &[], call).await;
        let users = match &result {
            Ok(answer) if answer.is_success() => answer.users().ok(),
            _ => None,
        };
        let users = users.ok_or_else(|| Verdict::still_in_doubt(&result, self.parts.clock.now()))?;
        Ok(users.iter().any(|user| named(user.username.as_str()) == named(email)))
    }

    /// What is to be done next, and what is to be said.
    fn follows(&self, verdict: Verdict, attempt: &ProvisioningAttempt, now: Timestamp) -> ProvisioningEnd {
        let (event_type, facts) = match verdict {
            Verdict::Said => return ProvisioningEnd::Settled { outcome: "dry_run", event: None },
            Verdict::Invited(facts) => (EventType::UserInvited, facts),
            Verdict::Exists(facts) => (EventType::UserExists, facts),
            Verdict::Failed(facts) => (EventType::UserFailed, facts),
            Verdict::Again { in_doubt, hint, facts } => {
                match self.parts.policy.next(attempt.number, now, hint, self.parts.chance.fraction()) {
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
        let wish = &attempt.wish;
        facts.insert("event".to_owned(), json!(wish.event));
        facts.insert("email".to_owned(), json!(wish.email));
        facts.insert("computers".to_owned(), json!(wish.computers));
        facts.insert("attempt_count".to_owned(), json!(attempt.number));
        NewEvent {
            id: EventId::new(now, &self.parts.chance),
            event_type,
            service: Some(wish.name.service.clone()),
            uaid: Some(wish.name.uaid),
            trust: Trust::Own,
            source_ip: None,
            received_at: now,
            detail: Some(facts.into()),
            about: None,
        }
    }

    fn announce(&self, said: Option<EventType>, owed: usize) {
        let Some(event_type) = said else { return };
        self.parts.metrics.event(event_type.as_str());
        self.parts.wake.events_stored();
        if owed > 0 {
            self.parts.metrics.deliveries("pending", owed as u64);
            self.parts.wake.deliveries_due();
        }
    }
}

/// The events after a place that may ask for something.
fn filter(after: Cursor) -> EventFilter {
    EventFilter { types: ProvisioningRule::TYPES.to_vec(), ..EventFilter::new(Order::Ascending { after }) }
}
