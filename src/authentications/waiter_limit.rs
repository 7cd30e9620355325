//! Limits of open ticket streams, for each ticket and altogether: a ticket can be used from outside any number of
//! times.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of streams of one ticket: a few windows, and connections that a browser has left unnoticed.
const MOST_PER_TICKET: usize = 16;

/// Maximum number of streams altogether. A listener admits more connections than that, so that callbacks are still
/// accepted.
const MAX_WAITERS: usize = 10_000;

/// Open streams by ticket.
#[derive(Debug, Clone, Default)]
pub struct WaiterLimit(Arc<Mutex<Tickets>>);

#[derive(Debug, Default)]
struct Tickets {
    watching: HashMap<String, usize>,
    all: usize,
}

/// Limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// Too many streams of this ticket.
    #[error("too many watch with this ticket at once")]
    Ticket,
    /// Too many watch altogether.
    #[error("too many watch at once")]
    Total,
}

/// Permit of a stream, free again on drop.
#[derive(Debug)]
pub struct WaiterPermit {
    ticket: String,
    of: WaiterLimit,
}

impl WaiterLimit {
    /// Takes a place.
    pub fn enter(&self, ticket: &str) -> Result<WaiterPermit, LimitExceeded> {
        let mut tickets = self.tickets();
        if tickets.all >= MAX_WAITERS {
            return Err(LimitExceeded::Total);
        }
        let watching = tickets.watching.entry(ticket.to_owned()).or_default();
        if *watching >= MOST_PER_TICKET {
            return Err(LimitExceeded::Ticket);
        }
        *watching += 1;
        tickets.all += 1;
        Ok(WaiterPermit { ticket: ticket.to_owned(), of: self.clone() })
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WaiterPermit {
    fn drop(&mut self) {
        let mut tickets = self.of.tickets();
        tickets.all -= 1;
        if let Some(watching) = tickets.watching.get_mut(&self.ticket) {
            *watching -= 1;
            if *watching == 0 {
                tickets.watching.remove(&self.ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_has_a_few_places_and_gives_them_back() {
        let waiter_limit = WaiterLimit::default();
        let mut places: Vec<_> = (0..MOST_PER_TICKET).map(|_| waiter_limit.enter("one").unwrap()).collect();
        assert_eq!(waiter_limit.enter("one").unwrap_err(), LimitExceeded::Ticket);
        waiter_limit.enter("two").unwrap();
        places.pop();
        waiter_limit.enter("one").unwrap();
        drop(places);
        assert!(waiter_limit.tickets().watching.is_empty() && waiter_limit.tickets().all == 0);
    }

    #[test]
    fn the_limit_holds() {
        let waiter_limit = WaiterLimit::default();
        let places: Vec<_> =
            (0..MAX_WAITERS).map(|number| waiter_limit.enter(&number.to_string()).unwrap()).collect();
        assert_eq!(waiter_limit.enter("more").unwrap_err(), LimitExceeded::Total);
        drop(places);
        waiter_limit.enter("more").unwrap();
    }
}
