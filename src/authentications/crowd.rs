//! How many may watch at once, for one ticket and altogether: anybody outside may come with a ticket, any number of times.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many watch with one ticket: a few windows, and connections that a browser has left and we have not noticed.
const MOST_PER_TICKET: usize = 16;

/// How many watch altogether. A door has places for more connections than that, so that callbacks still come in.
const MOST: usize = 10_000;

/// Who watches.
#[derive(Debug, Clone, Default)]
pub struct Crowd(Arc<Mutex<Tickets>>);

#[derive(Debug, Default)]
struct Tickets {
    watching: HashMap<String, usize>,
    all: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// Too many watch with this ticket.
    #[error("too many watch with this ticket at once")]
    Ticket,
    /// Too many watch altogether.
    #[error("too many watch at once")]
    Door,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    ticket: String,
    of: Crowd,
}

impl Crowd {
    /// Takes a place.
    pub fn enter(&self, ticket: &str) -> Result<Place, Crowded> {
        let mut tickets = self.tickets();
        if tickets.all >= MOST {
            return Err(Crowded::Door);
        }
        let watching = tickets.watching.entry(ticket.to_owned()).or_default();
        if *watching >= MOST_PER_TICKET {
            return Err(Crowded::Ticket);
        }
        *watching += 1;
        tickets.all += 1;
        Ok(Place { ticket: ticket.to_owned(), of: self.clone() })
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
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
        let crowd = Crowd::default();
        let mut places: Vec<_> = (0..MOST_PER_TICKET).map(|_| crowd.enter("one").unwrap()).collect();
        assert_eq!(crowd.enter("one").unwrap_err(), Crowded::Ticket);
        crowd.enter("two").unwrap();
        places.pop();
        crowd.enter("one").unwrap();
        drop(places);
        assert!(crowd.tickets().watching.is_empty() && crowd.tickets().all == 0);
    }

    #[test]
    fn the_door_has_places_for_so_many_and_no_more() {
        let crowd = Crowd::default();
        let places: Vec<_> = (0..MOST).map(|number| crowd.enter(&number.to_string()).unwrap()).collect();
        assert_eq!(crowd.enter("more").unwrap_err(), Crowded::Door);
        drop(places);
        crowd.enter("more").unwrap();
    }
}
