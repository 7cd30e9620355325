//! Consumers: named cursors that the server keeps.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::backend::{Backend, Statement, statement, with_deadline};
use super::sql::{SqlStore, column, parsed, time};
use super::statements::consumers::{
    ADVANCE_CONSUMER, CONSUMER, CONSUMER_PLACE, CONSUMERS, CREATE_CONSUMER, EVENT_FROM, EVENT_SINCE,
    MOVE_CONSUMER, REMOVE_CONSUMER,
};
use super::{EventStore, StoreError};
use crate::domain::{
    Consumer, ConsumerId, ConsumerName, Cursor, EXACT_LAG_LIMIT, Limit, RetainedRange, Seek, ServiceName,
};

/// Maximum number of consumers of one owner.
pub const MAX_CONSUMERS: i64 = 1_000;

/// Maximum difference of the clocks of replicas, for finding a cursor by its time.
const SKEW: Duration = Duration::from_mins(1);

/// Reason why a consumer was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerError {
    /// The owner has [`MAX_CONSUMERS`] already.
    TooMany,
    /// The cursor is beyond this one, the newest.
    Beyond(Cursor),
}

/// Consumers. The first use creates one, before the oldest event.
#[async_trait]
pub trait ConsumerStore: Send + Sync {
    /// Returns the cursor of a consumer.
    async fn consumer_place(
        &self,
        id: &ConsumerId,
        now: Timestamp,
    ) -> Result<Result<Cursor, ConsumerError>, StoreError>;

    /// Moves a consumer and returns it.
    async fn move_consumer(
        &self,
        id: &ConsumerId,
        to: Seek,
        now: Timestamp,
    ) -> Result<Result<Consumer, ConsumerError>, StoreError>;

    /// Returns a consumer, if it exists.
    async fn consumer(&self, id: &ConsumerId) -> Result<Option<Consumer>, StoreError>;

    /// Returns an owner's consumers after the name `after`, sorted by name, and whether there are more.
    async fn consumers(
        &self,
        owner: Option<&ServiceName>,
        after: Option<&ConsumerName>,
        limit: Limit,
    ) -> Result<(Vec<Consumer>, bool), StoreError>;

    /// Deletes a consumer. Returns whether it existed.
    async fn remove_consumer(&self, id: &ConsumerId) -> Result<bool, StoreError>;
}

#[async_trait]
impl<B: Backend> ConsumerStore for SqlStore<B> {
    async fn consumer_place(
        &self,
        id: &ConsumerId,
        now: Timestamp,
    ) -> Result<Result<Cursor, ConsumerError>, StoreError> {
        with_deadline("read a consumer's place", async {
            if let Some(place) = self.place_of(id).await? {
                return Ok(Ok(place));
            }
            let mut writer = self.db.rest.autocommit().await?;
            B::run(writer.connection(), create::<B>(id, None, now)).await?;
            writer.finish();
            Ok(self.place_of(id).await?.ok_or(ConsumerError::TooMany))
        })
        .await
    }

    async fn move_consumer(
        &self,
        id: &ConsumerId,
        to: Seek,
        now: Timestamp,
    ) -> Result<Result<Consumer, ConsumerError>, StoreError> {
        let kept = self.kept().await?;
        let target = match to {
            Seek::Acknowledge(cursor) | Seek::To(cursor) => cursor,
            Seek::Since(time) => with_deadline("look for a place", self.before(time, kept)).await?,
            Seek::Beginning => kept.before_oldest(),
            Seek::End => kept.newest,
        };
        let moved = with_deadline("move a consumer", self.put(id, to, target, kept.newest, now)).await?;
        if let Err(unmoved) = moved {
            return Ok(Err(unmoved));
        }
        Ok(self.consumer(id).await?.ok_or(ConsumerError::TooMany))
    }

    async fn consumer(&self, id: &ConsumerId) -> Result<Option<Consumer>, StoreError> {
        let kept = self.kept().await?;
        with_deadline("read a consumer", async {
            let read = || {
                let (owner, name) = key(id);
                statement!(B, CONSUMER, owner, name, counted())
            };
            self.read(read).await?.first().map(|row| consumer::<B>(row, kept)).transpose()
        })
        .await
    }

    async fn consumers(
        &self,
        owner: Option<&ServiceName>,
        after: Option<&ConsumerName>,
        limit: Limit,
    ) -> Result<(Vec<Consumer>, bool), StoreError> {
        let kept = self.kept().await?;
        with_deadline("read consumers", async {
            let read = || {
                let owner = text(owner);
                let after = text(after);
                statement!(B, CONSUMERS, owner, after, counted(), number(limit.get() + 1))
            };
            let rows = self.read(read).await?;
            let found = rows.iter().take(limit.get()).map(|row| consumer::<B>(row, kept));
            Ok((found.collect::<Result<_, _>>()?, rows.len() > limit.get()))
        })
        .await
    }

    async fn remove_consumer(&self, id: &ConsumerId) -> Result<bool, StoreError> {
        with_deadline("remove a consumer", async {
            let (owner, name) = key(id);
            let mut writer = self.db.rest.autocommit().await?;
            let removed = B::run(writer.connection(), statement!(B, REMOVE_CONSUMER, owner, name)).await?;
            writer.finish();
            Ok(removed > 0)
        })
        .await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn place_of(&self, id: &ConsumerId) -> sqlx::Result<Option<Cursor>> {
        let rows = self.read(|| place::<B>(id)).await?;
        rows.first().map(|row| column::<B, _>(row, "place").map(Cursor)).transpose()
    }

    async fn put(
        &self,
        id: &ConsumerId,
        to: Seek,
        target: Cursor,
        newest: Cursor,
        now: Timestamp,
    ) -> sqlx::Result<Result<(), ConsumerError>> {
        let mut tx = self.db.rest.begin().await?;
        let rows = B::rows(tx.connection(), place::<B>(id)).await?;
        let stands: Option<i64> = rows.first().map(|row| column::<B, _>(row, "place")).transpose()?;
        // A cursor that the consumer has passed is never beyond the end, also when all events were pruned.
        if target > newest && target.0 > stands.unwrap_or_default() {
            tx.commit().await?;
            return Ok(Err(ConsumerError::Beyond(newest)));
        }
        if stands.is_none() {
            B::run(tx.connection(), create::<B>(id, Some(target), now)).await?;
        }
        let text = if matches!(to, Seek::Acknowledge(_)) { ADVANCE_CONSUMER } else { MOVE_CONSUMER };
        let (owner, name) = key(id);
        B::run(tx.connection(), statement!(B, text, owner, name, target.0, now.as_millisecond())).await?;
        let there = stands.is_some() || !B::rows(tx.connection(), place::<B>(id)).await?.is_empty();
        tx.commit().await?;
        Ok(if there { Ok(()) } else { Err(ConsumerError::TooMany) })
    }

    /// Returns the cursor before the first event received at or after `since`. Events are in the order of their times,
    /// except for differences of the replicas' clocks: a binary search finds the neighbourhood, which is then scanned.
    async fn before(&self, since: Timestamp, kept: RetainedRange) -> sqlx::Result<Cursor> {
        let early = since.checked_sub(SKEW).unwrap_or(Timestamp::MIN).as_millisecond();
        let mut low = kept.before_oldest().0;
        let mut high = kept.newest.0.saturating_add(1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let rows = self.read(|| statement!(B, EVENT_FROM, middle)).await?;
            match rows.first() {
                Some(row) if column::<B, i64>(row, "received_at")? < early => {
                    low = column::<B, _>(row, "seq")?;
                }
                _ => high = middle,
            }
        }
        let rows = self.read(|| statement!(B, EVENT_SINCE, low, since.as_millisecond())).await?;
        let first: Option<i64> = rows.first().map(|row| column::<B, _>(row, "seq")).transpose()?;
        Ok(first.map_or(kept.newest, |seq| Cursor(seq - 1)))
    }
}

fn key(id: &ConsumerId) -> (String, String) {
    (text(id.owner.as_ref()), id.name.to_string())
}

fn text(name: Option<&impl ToString>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn number(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn counted() -> i64 {
    i64::try_from(EXACT_LAG_LIMIT + 1).unwrap_or(i64::MAX)
}

fn place<B: Backend>(id: &ConsumerId) -> Statement<B> {
    let (owner, name) = key(id);
    statement!(B, CONSUMER_PLACE, owner, name)
}

fn create<B: Backend>(id: &ConsumerId, at: Option<Cursor>, now: Timestamp) -> Statement<B> {
    let (owner, name) = key(id);
    statement!(
        B,
        CREATE_CONSUMER,
        owner,
        name,
        at.map(|cursor| cursor.0),
        now.as_millisecond(),
        MAX_CONSUMERS
    )
}

fn consumer<B: Backend>(row: &B::Row, kept: RetainedRange) -> sqlx::Result<Consumer> {
    let name: String = column::<B, _>(row, "name")?;
    let behind: i64 = column::<B, _>(row, "behind")?;
    Ok(Consumer {
        name: parsed("name", name)?,
        place: Cursor(column::<B, _>(row, "place")?),
        created_at: time("created_at", column::<B, _>(row, "created_at")?)?,
        updated_at: time("updated_at", column::<B, _>(row, "updated_at")?)?,
        counted: u64::try_from(behind).unwrap_or_default(),
        kept,
    })
}
