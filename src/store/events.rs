//! Events: grouped appends, and pages without gaps.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::backend::{Backend, statement, with_deadline, within};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::events::{EVENT, HEAD};
use super::write_connection::Transaction;
use super::{Appended, Committed, CommittedEvent, EventStore, InitialLease, Recorded, StoreError};
use crate::domain::{
    Cursor, DeliveryId, Event, EventFilter, EventId, EventType, ExpectationMatch, Invalid, Lease, NewEvent,
    Order, Page, RetainedRange, ServiceName, Uaid,
};

/// Key of an event. Two events with the same key are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum EventKey {
    /// Event about an authentication, which is stored once.
    Authentication(Uaid, EventType, ServiceName),
    /// Other event. Each is a separate one.
    Other(EventId),
}

impl EventKey {
    fn new(uaid: Option<Uaid>, event_type: EventType, service: Option<ServiceName>, id: &EventId) -> Self {
        match (uaid, service) {
            (Some(uaid), Some(service)) => Self::Authentication(uaid, event_type, service),
            _ => Self::Other(id.clone()),
        }
    }
}

#[async_trait]
impl<B: Backend> EventStore for SqlStore<B> {
    async fn append(
        &self,
        events: &[NewEvent],
        now: Timestamp,
        lease: Option<&InitialLease>,
    ) -> Result<Appended, StoreError> {
        let (distinct, keys) = fold(events);
        let except = lease.map(|lease| &lease.except[..]).unwrap_or_default();
        let append = statement!(
            B,
            B::DIALECT.events.append,
            rows_json(&distinct),
            now.as_millisecond(),
            lease.map(|lease| lease.expires_at.as_millisecond()),
            lease.map(|lease| lease.token.to_string()),
            json!(except).to_string(),
            self.process.clone(),
        );
        within(B::APPEND_TIMEOUT, "store events", async {
            let mut writer = self.db.append.autocommit().await?;
            let rows = B::rows(writer.connection(), append).await?;
            B::check_log(&self.db.target)?;
            writer.finish();
            appended::<B>(&rows, events, &keys, &distinct, lease)
        })
        .await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Page<Event>, StoreError> {
        with_deadline("read events", self.page(filter)).await
    }

    async fn kept(&self) -> Result<RetainedRange, StoreError> {
        with_deadline("read the range of events", async {
            let rows = self.read(|| statement!(B, B::DIALECT.events.kept)).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            Ok(RetainedRange {
                oldest: column::<B, Option<i64>>(row, "oldest")?.map(Cursor),
                newest: Cursor(column::<B, _>(row, "newest")?),
                given: Cursor(column::<B, _>(row, "given")?),
            })
        })
        .await
    }

    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError> {
        with_deadline("read an event", async {
            let rows = self.read(|| statement!(B, EVENT, id.to_string())).await?;
            rows.first().map(event::<B>).transpose()
        })
        .await
    }
}

impl<B: Backend> SqlStore<B> {
    /// Stores events of remgate itself with their deliveries, as a part of a transaction. On PostgreSQL other appends wait
    /// until the transaction ends: this call has to come last, and the transaction has to be durable.
    pub(super) async fn append_within(
        &self,
        tx: &mut Transaction<'_, B>,
        events: &[NewEvent],
        now: Timestamp,
    ) -> Result<Appended, sqlx::Error> {
        let (distinct, keys) = fold(events);
        let append = statement!(
            B,
            B::DIALECT.events.append_within,
            rows_json(&distinct),
            now.as_millisecond(),
            None::<i64>,
            None::<String>,
            "[]".to_owned(),
            self.process.clone(),
        );
        let rows = B::rows(tx.connection(), append).await?;
        appended::<B>(&rows, events, &keys, &distinct, None)
    }

    /// Stores events of remgate itself as a part of a transaction; see [`append_within`](Self::append_within).
    pub(super) async fn append_own(
        &self,
        tx: &mut Transaction<'_, B>,
        events: &[NewEvent],
        now: Timestamp,
    ) -> Result<Committed, sqlx::Error> {
        if events.is_empty() {
            return Ok(Committed::default());
        }
        Ok(self.append_within(tx, events, now).await?.committed)
    }

    async fn page(&self, filter: &EventFilter) -> Result<Page<Event>, sqlx::Error> {
        let (text, from) = match (filter.order, filter.uaid) {
            (Order::Ascending { after }, None) => (B::DIALECT.events.events_after, after.0),
            (Order::Ascending { after }, Some(_)) => (B::DIALECT.events.events_after_of_uaid, after.0),
            (Order::Descending { before }, None) => {
                (B::DIALECT.events.events_before, before.map_or(i64::MAX, |c| c.0))
            }
            (Order::Descending { before }, Some(_)) => {
                (B::DIALECT.events.events_before_of_uaid, before.map_or(i64::MAX, |c| c.0))
            }
        };
        let limit = filter.limit.get();
        let query = |head: i64| {
            let query = statement!(
                B,
                text,
                from,
                head,
                json!(filter.types).to_string(),
                json!(filter.services).to_string(),
                filter.since.map(Timestamp::as_millisecond),
                filter.until.map(Timestamp::as_millisecond),
                i64::try_from(limit + 1).unwrap_or(i64::MAX),
                json!(filter.trusts).to_string(),
                filter.subject.as_ref().map(|subject| subject.as_str().to_owned()),
            );
            match filter.uaid {
                Some(uaid) => B::bind(query, uaid.as_bytes().to_vec()),
                None => query,
            }
        };
        let (head, rows) = self.read_page(|| statement!(B, HEAD), query).await?;
        let mut data = rows.iter().map(event::<B>).collect::<Result<Vec<_>, _>>()?;
        let has_more = data.len() > limit;
        data.truncate(limit);
        let cursor = place_after(filter.order, data.last(), has_more, Cursor(head));
        Ok(Page { data, cursor, has_more })
    }
}

/// Reads the rows of an append.
fn appended<B: Backend>(
    rows: &[B::Row],
    events: &[NewEvent],
    keys: &[EventKey],
    distinct: &[(&NewEvent, i64)],
    lease: Option<&InitialLease>,
) -> Result<Appended, sqlx::Error> {
    let mut known = HashMap::new();
    let mut owed = Vec::new();
    for row in rows {
        match column::<B, Option<i64>>(row, "delivery")? {
            None => known.extend([stored_row::<B>(row)?]),
            Some(delivery) => owed.push((DeliveryId(delivery), row)),
        }
    }
    let leases = lease.map_or(Ok(Vec::new()), |lease| leased::<B>(&owed, distinct, &known, lease))?;
    let recorded = answers(events, keys, &known)?;
    let mut committed = Committed::pending(owed.len() as u64);
    committed.deliveries_due = owed.len() > leases.len();
    let new = events.iter().zip(&recorded).filter(|(_, recorded)| recorded.new);
    committed.events = new.map(|(event, _)| CommittedEvent::from(event)).collect();
    Ok(Appended { events: recorded, leases, committed })
}

/// Returns the cursor after a page. At the end of an ascending list it is the newest cursor at the time of the read,
/// so that events which the filter left out are not read again.
fn place_after(order: Order, last: Option<&Event>, has_more: bool, head: Cursor) -> Cursor {
    match (order, last) {
        (Order::Ascending { after }, _) if !has_more => after.max(head),
        (_, Some(last)) => last.cursor,
        (Order::Ascending { after }, None) => after,
        (Order::Descending { before }, None) => before.unwrap_or_default(),
    }
}

fn key(event: &NewEvent) -> EventKey {
    EventKey::new(event.uaid, event.event_type, event.service.clone(), &event.id)
}

/// Merges equal events of a batch into one row with a count of duplicates. Returns the rows, and the key of each event.
/// The rows, and therefore their cursors, keep the order of the events. Appends never run concurrently, so no two of them
/// can lock the same rows in opposite order.
fn fold(events: &[NewEvent]) -> (Vec<(&NewEvent, i64)>, Vec<EventKey>) {
    let keys: Vec<_> = events.iter().map(key).collect();
    let mut rows: Vec<(&NewEvent, i64)> = Vec::with_capacity(events.len());
    let mut indexes: HashMap<&EventKey, usize> = HashMap::with_capacity(events.len());
    for (event, key) in events.iter().zip(&keys) {
        match indexes.entry(key) {
            Entry::Occupied(index) => rows[*index.get()].1 += 1,
            Entry::Vacant(index) => {
                index.insert(rows.len());
                rows.push((event, 0));
            }
        }
    }
    (rows, keys)
}

fn rows_json(rows: &[(&NewEvent, i64)]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|(event, duplicates)| {
            let at = event.received_at.as_millisecond();
            (
                &event.id,
                event.event_type,
                &event.service,
                event.uaid,
                event.trust,
                event.source_ip,
                at,
                duplicates,
                event.detail.as_ref().map(Value::to_string),
                &event.about,
            )
        })
        .collect();
    serde_json::to_string(&rows).expect("plain fields are JSON")
}

/// Row of an event after an append.
struct Stored {
    seq: i64,
    id: EventId,
    met: ExpectationMatch,
}

fn stored_row<B: Backend>(row: &B::Row) -> Result<(EventKey, Stored), sqlx::Error> {
    let service: Option<String> = column::<B, _>(row, "service")?;
    let event_type: String = column::<B, _>(row, "type")?;
    let id = parsed("id", column::<B, String>(row, "id")?)?;
    let uaid = column::<B, Option<Vec<u8>>>(row, "uaid")?.map(uaid).transpose()?;
    let service = service.map(|text| parsed("service", text)).transpose()?;
    let key = EventKey::new(uaid, parsed("type", event_type)?, service, &id);
    Ok((key, Stored { seq: column::<B, _>(row, "seq")?, id, met: met::<B>(row)? }))
}

fn met<B: Backend>(row: &B::Row) -> Result<ExpectationMatch, sqlx::Error> {
    Ok(ExpectationMatch {
        expected: column::<B, _>(row, "expected")?,
        subject: column::<B, _>(row, "subject")?,
        state: document::<B, _>(row, "state")?,
        late: column::<B, _>(row, "late")?,
    })
}

/// Returns the leases among the new deliveries.
fn leased<B: Backend>(
    owed: &[(DeliveryId, &B::Row)],
    distinct: &[(&NewEvent, i64)],
    known: &HashMap<EventKey, Stored>,
    lease: &InitialLease,
) -> Result<Vec<Lease>, sqlx::Error> {
    let stored = |event: &NewEvent| known.get(&key(event));
    let by_seq: HashMap<_, _> = distinct
        .iter()
        .filter_map(|(event, _)| stored(event).map(|stored| (stored.seq, (*event, &stored.met))))
        .collect();
    let mut leases = Vec::new();
    for (delivery, row) in owed {
        if column::<B, Option<String>>(row, "lease_token")?.is_none() {
            continue;
        }
        let event_seq: i64 = column::<B, _>(row, "seq")?;
        let endpoint: String = column::<B, _>(row, "endpoint_id")?;
        let (event, met) = by_seq.get(&event_seq).ok_or(sqlx::Error::RowNotFound)?;
        leases.push(Lease {
            delivery: *delivery,
            token: lease.token.clone(),
            expires_at: lease.expires_at,
            endpoint: parsed("endpoint_id", endpoint)?,
            event: event.stored_at(Cursor(event_seq), ExpectationMatch::clone(met)),
            attempt_count: 0,
            attempts_before: 0,
            replay: false,
        });
    }
    Ok(leases)
}

fn answers(
    events: &[NewEvent],
    keys: &[EventKey],
    known: &HashMap<EventKey, Stored>,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let recorded = events.iter().zip(keys).map(|(event, key)| {
        let stored = known.get(key).ok_or(sqlx::Error::RowNotFound)?;
        Ok(Recorded { id: stored.id.clone(), new: stored.id == event.id })
    });
    recorded.collect()
}

pub(super) fn uaid(bytes: Vec<u8>) -> Result<Uaid, sqlx::Error> {
    let bits =
        <[u8; 16]>::try_from(bytes).map_err(|_| undecodable("uaid", Invalid::new("a uaid has 16 bytes")))?;
    Ok(Uaid::from_bytes(bits))
}

/// Reads a row of `events`.
pub(super) fn event<B: Backend>(row: &B::Row) -> Result<Event, sqlx::Error> {
    let id: String = column::<B, _>(row, "id")?;
    let event_type: String = column::<B, _>(row, "type")?;
    let trust: String = column::<B, _>(row, "trust")?;
    let service: Option<String> = column::<B, _>(row, "service")?;
    let source_ip: Option<String> = column::<B, _>(row, "source_ip")?;
    let uaid = column::<B, Option<Vec<u8>>>(row, "uaid")?.map(uaid).transpose()?;
    let ExpectationMatch { expected, subject, state, late } = met::<B>(row)?;
    Ok(Event {
        id: parsed("id", id)?,
        cursor: Cursor(column::<B, _>(row, "seq")?),
        event_type: parsed("type", event_type)?,
        service: service.map(|text| parsed("service", text)).transpose()?,
        uaid,
        trust: parsed("trust", trust)?,
        source_ip: source_ip.map(|text| text.parse().map_err(|e| undecodable("source_ip", e))).transpose()?,
        received_at: time("received_at", column::<B, _>(row, "received_at")?)?,
        duplicates: column::<B, _>(row, "duplicates")?,
        expected: uaid.map(|_| expected),
        subject,
        state,
        late,
        detail: document::<B, _>(row, "detail")?,
    })
}

/// Reads a column that holds JSON or null.
pub(super) fn document<B: Backend, T: DeserializeOwned>(
    row: &B::Row,
    name: &'static str,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<String> = column::<B, _>(row, name)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| undecodable(name, e))
}
