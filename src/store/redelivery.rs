//! Deliveries as people see them: pages, retry, cancel, replay, recovery.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::backend::{Backend, statement, with_deadline, within};
use super::sql::{SqlStore, column, parsed, time};
use super::statements::redelivery::{
    BOUNDS, CANCEL, DELIVERIES_AFTER, DELIVERIES_BEFORE, DELIVERY, EXHAUSTED_AFTER, EXHAUSTED_BEFORE,
    OF_EVENT_AFTER, OF_EVENT_BEFORE, OPEN_AFTER, OPEN_BEFORE, RETRY,
};
use super::{Committed, DeliveryCounts, StoreError};
use crate::domain::{
    Attempt, Cursor, Delivery, DeliveryFilter, DeliveryId, DeliveryState, EndpointId, EventId, Order, Page,
};

/// Time window of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Received then or later.
    pub since: Timestamp,
    /// Received earlier than this.
    pub until: Timestamp,
}

/// Range of events by their cursors: after the first, up to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Cursor before the first event.
    pub after: Cursor,
    /// The last.
    pub last: Cursor,
}

/// Deliveries that a replay created.
#[derive(Debug)]
pub struct Replayed {
    /// The new deliveries.
    pub deliveries: Vec<DeliveryId>,
    /// Changes to announce.
    pub committed: Committed,
}

/// Deliveries as people see them: pages, retry, cancel, replay and recovery.
#[async_trait]
pub trait Redelivery: Send + Sync {
    /// One page.
    async fn deliveries(&self, filter: &DeliveryFilter, now: Timestamp)
    -> Result<Page<Delivery>, StoreError>;

    /// Returns a delivery with its last attempts, in their order.
    async fn delivery(
        &self,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<(Delivery, Vec<Attempt>)>, StoreError>;

    /// Makes a delivery due now; one that was given up or cancelled begins its schedule anew. Returns `None` when nothing
    /// changed: it has succeeded, is being sent, or its endpoint was removed.
    async fn retry(&self, id: DeliveryId, now: Timestamp) -> Result<Option<Committed>, StoreError>;

    /// Cancels a delivery. Returns `None` when it was not open.
    async fn cancel(&self, id: DeliveryId, now: Timestamp) -> Result<Option<Committed>, StoreError>;

    /// Returns the endpoints that can never receive the event.
    async fn cannot_have(
        &self,
        event: &EventId,
        endpoints: &[EndpointId],
    ) -> Result<Vec<EndpointId>, StoreError>;

    /// Creates deliveries of an event that was delivered before: to these endpoints whatever their filter, or to all that
    /// want it. Disabled endpoints get none.
    async fn replay(
        &self,
        event: &EventId,
        to: Option<&[EndpointId]>,
        now: Timestamp,
    ) -> Result<Replayed, StoreError>;

    /// Returns the range of the events in a window.
    async fn events_within(&self, window: Window) -> Result<Stretch, StoreError>;

    /// Returns the number of the endpoint's events in a window whose deliveries are missing or exhausted.
    async fn count_lost(
        &self,
        endpoint: &EndpointId,
        window: Window,
        stretch: Stretch,
    ) -> Result<u64, StoreError>;

    /// Creates missing deliveries and reopens exhausted ones, in one transaction.
    async fn recover(
        &self,
        endpoint: &EndpointId,
        window: Window,
        stretch: Stretch,
        now: Timestamp,
    ) -> Result<Committed, StoreError>;
}

/// Maximum number of attempts that are shown of a delivery. No schedule has more, but one can begin anew.
const ATTEMPTS_SHOWN: i64 = 250;

#[async_trait]
impl<B: Backend> Redelivery for SqlStore<B> {
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        now: Timestamp,
    ) -> Result<Page<Delivery>, StoreError> {
        let limit = filter.limit.get();
        let (text, from) = page_text(filter);
        with_deadline("read deliveries", async {
            let query = || {
                statement!(
                    B,
                    text,
                    from,
                    filter.endpoint.as_ref().map(ToString::to_string),
                    filter.state.map(|state| state.as_str().to_owned()),
                    now.as_millisecond(),
                    i64::try_from(limit + 1).unwrap_or(i64::MAX),
                    filter.event.as_ref().map(ToString::to_string),
                )
            };
            let rows = self.read(query).await?;
            let mut data = rows.iter().map(|row| delivery::<B>(row, now)).collect::<Result<Vec<_>, _>>()?;
            let has_more = data.len() > limit;
            data.truncate(limit);
            let start = match filter.order {
                Order::Ascending { after } => after,
                Order::Descending { before } => before.unwrap_or_default(),
            };
            let cursor = data.last().map_or(start, |last| Cursor(last.id.0));
            Ok(Page { data, cursor, has_more })
        })
        .await
    }

    async fn delivery(
        &self,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<(Delivery, Vec<Attempt>)>, StoreError> {
        with_deadline("read a delivery", async {
            let rows = self.read(|| statement!(B, DELIVERY, id.0, ATTEMPTS_SHOWN)).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let attempts = rows.iter().filter_map(|row| attempt::<B>(row).transpose());
            let attempts = attempts.collect::<Result<_, _>>()?;
            Ok(Some((delivery::<B>(row, now)?, attempts)))
        })
        .await
    }

    async fn retry(&self, id: DeliveryId, now: Timestamp) -> Result<Option<Committed>, StoreError> {
        let retry = statement!(B, RETRY, id.0, now.as_millisecond());
        let changed = with_deadline("retry a delivery", self.change_one(retry)).await?;
        Ok(changed.then(|| Committed { deliveries_due: true, ..Committed::default() }))
    }

    async fn cancel(&self, id: DeliveryId, now: Timestamp) -> Result<Option<Committed>, StoreError> {
        let cancel = statement!(B, CANCEL, id.0, now.as_millisecond());
        let changed = with_deadline("cancel a delivery", self.change_one(cancel)).await?;
        let deliveries = DeliveryCounts { cancelled: 1, ..DeliveryCounts::default() };
        Ok(changed.then(|| Committed { deliveries, ..Committed::default() }))
    }

    async fn cannot_have(
        &self,
        event: &EventId,
        endpoints: &[EndpointId],
    ) -> Result<Vec<EndpointId>, StoreError> {
        with_deadline("read endpoints of an event", async {
            let list = json!(endpoints).to_string();
            let query = || statement!(B, B::DIALECT.redelivery.cannot_have, event.to_string(), list.clone());
            let rows = self.read(query).await?;
            rows.iter().map(|row| parsed("id", column::<B, String>(row, "id")?)).collect()
        })
        .await
    }

    async fn replay(
        &self,
        event: &EventId,
        to: Option<&[EndpointId]>,
        now: Timestamp,
    ) -> Result<Replayed, StoreError> {
        let event = event.to_string();
        let at = now.as_millisecond();
        let dialect = &B::DIALECT.redelivery;
        let insert = if let Some(named) = to {
            statement!(B, dialect.replay_to_named, event, at, json!(named).to_string())
        } else {
            statement!(B, dialect.replay_to_all, event, at)
        };
        with_deadline("replay an event", async {
            let mut tx = self.db.rest.begin().await?;
            let rows = B::rows(tx.connection(), insert).await?;
            tx.commit().await?;
            let deliveries = rows.iter().map(|row| Ok(DeliveryId(column::<B, _>(row, "seq")?)));
            let deliveries = deliveries.collect::<Result<Vec<_>, sqlx::Error>>()?;
            Ok(Replayed { committed: Committed::pending(deliveries.len() as u64), deliveries })
        })
        .await
    }

    async fn events_within(&self, window: Window) -> Result<Stretch, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read the range of a window", async {
            let since = window.since.as_millisecond();
            let until = window.until.as_millisecond();
            let rows = self.read(|| statement!(B, BOUNDS, since, until)).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let oldest: i64 = column::<B, _>(row, "oldest")?;
            Ok(Stretch { after: Cursor(oldest - 1), last: Cursor(column::<B, _>(row, "newest")?) })
        })
        .await
    }

    async fn count_lost(
        &self,
        endpoint: &EndpointId,
        window: Window,
        stretch: Stretch,
    ) -> Result<u64, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "count missing deliveries", async {
            let query = || {
                let text = B::DIALECT.redelivery.missing_or_given_up;
                let Window { since, until } = window;
                let after = stretch.after.0;
                let last = stretch.last.0;
                let since = since.as_millisecond();
                let until = until.as_millisecond();
                statement!(B, text, endpoint.to_string(), after, last, since, until)
            };
            let rows = self.read(query).await?;
            let found: i64 = rows.first().map_or(Ok(0), |row| column::<B, _>(row, "found"))?;
            Ok(u64::try_from(found).unwrap_or_default())
        })
        .await
    }

    async fn recover(
        &self,
        endpoint: &EndpointId,
        window: Window,
        stretch: Stretch,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        let bound = |text: &'static str| {
            let Window { since, until } = window;
            let after = stretch.after.0;
            let last = stretch.last.0;
            let since = since.as_millisecond();
            let until = until.as_millisecond();
            statement!(B, text, endpoint.to_string(), after, last, since, until, now.as_millisecond())
        };
        within(B::BACKGROUND_TIMEOUT, "create missing deliveries", async {
            let dialect = &B::DIALECT.redelivery;
            let mut tx = self.db.rest.begin().await?;
            B::rows(tx.connection(), statement!(B, dialect.wait_for_recoveries)).await?;
            let reopened = B::run(tx.connection(), bound(dialect.reopen)).await?;
            let made = B::run(tx.connection(), bound(dialect.make_missing)).await?;
            tx.commit().await?;
            Ok(Committed::pending(reopened + made))
        })
        .await
    }
}

impl<B: Backend> SqlStore<B> {
    /// Runs a statement that is a transaction by itself. Returns whether it changed a row.
    async fn change_one(&self, change: super::backend::Statement<B>) -> Result<bool, sqlx::Error> {
        let mut writer = self.db.rest.autocommit().await?;
        let changed = B::run(writer.connection(), change).await?;
        writer.finish();
        Ok(changed > 0)
    }
}

/// Returns the statement that scans the fewest rows, with its start.
fn page_text(filter: &DeliveryFilter) -> (&'static str, i64) {
    let among = match (&filter.event, filter.state) {
        (Some(_), _) => [OF_EVENT_AFTER, OF_EVENT_BEFORE],
        (None, Some(DeliveryState::Pending | DeliveryState::Sending)) => [OPEN_AFTER, OPEN_BEFORE],
        (None, Some(DeliveryState::Exhausted)) => [EXHAUSTED_AFTER, EXHAUSTED_BEFORE],
        (None, _) => [DELIVERIES_AFTER, DELIVERIES_BEFORE],
    };
    match filter.order {
        Order::Ascending { after } => (among[0], after.0),
        Order::Descending { before } => (among[1], before.map_or(i64::MAX, |before| before.0)),
    }
}

fn delivery<B: Backend>(row: &B::Row, now: Timestamp) -> Result<Delivery, sqlx::Error> {
    let moment = |name: &'static str| {
        column::<B, Option<i64>>(row, name)?.map(|millis| time(name, millis)).transpose()
    };
    let due_at = moment("due_at")?;
    let leased = column::<B, Option<String>>(row, "lease_token")?.is_some();
    let sending = leased && due_at.is_some_and(|due_at| due_at > now);
    let state = parsed("state", column::<B, String>(row, "state")?)?;
    Ok(Delivery {
        id: DeliveryId(column::<B, _>(row, "seq")?),
        event: parsed("event", column::<B, String>(row, "event")?)?,
        endpoint: parsed("endpoint_id", column::<B, String>(row, "endpoint_id")?)?,
        state: if sending { DeliveryState::Sending } else { state },
        attempt_count: column::<B, _>(row, "attempt_count")?,
        next_attempt_at: due_at.filter(|_| !sending),
        created_at: time("created_at", column::<B, _>(row, "created_at")?)?,
        settled_at: moment("settled_at")?,
        replay: column::<B, _>(row, "replay")?,
    })
}

fn attempt<B: Backend>(row: &B::Row) -> Result<Option<Attempt>, sqlx::Error> {
    let Some(at) = column::<B, Option<i64>>(row, "at")? else { return Ok(None) };
    let error: Option<String> = column::<B, _>(row, "error")?;
    Ok(Some(Attempt {
        at: time("at", at)?,
        status: column::<B, _>(row, "status")?,
        error: error.map(|text| parsed("error", text)).transpose()?,
        elapsed_ms: column::<B, _>(row, "elapsed_ms")?,
        response: column::<B, _>(row, "response")?,
    }))
}
