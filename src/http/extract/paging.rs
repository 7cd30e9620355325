//! Direction, start and size of a page.

use std::str::FromStr;

use super::Params;
use crate::domain::{Cursor, Invalid, Limit, Order};
use crate::http::problem::Problem;

/// Page that a request asks for: `order`, `after`, `before` and `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Paging {
    pub(in crate::http) order: Order,
    pub(in crate::http) limit: Limit,
}

impl Paging {
    /// Reads the four parameters.
    ///
    /// # Errors
    ///
    /// A value is malformed, or `after` and `before` do not fit the direction.
    pub(in crate::http) fn read(params: &mut Params) -> Result<Self, Problem> {
        let direction = params.one("order")?.unwrap_or(Direction::Ascending);
        let after = params.one::<Cursor>("after")?;
        let before = params.one::<Cursor>("before")?;
        let order = match (direction, after, before) {
            (Direction::Ascending, after, None) => Order::Ascending { after: after.unwrap_or_default() },
            (Direction::Descending, None, before) => Order::Descending { before },
            (Direction::Ascending, _, Some(_)) => {
                return Err(Problem::bad_request("`before` goes with order=desc; pass `after` here"));
            }
            (Direction::Descending, Some(_), _) => {
                return Err(Problem::bad_request("order=desc goes without `after`; it pages by `before`"));
            }
        };
        Ok(Self { order, limit: params.one("limit")?.unwrap_or_default() })
    }
}

/// Direction of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Direction {
    Ascending,
    Descending,
}

impl FromStr for Direction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "asc" => Ok(Self::Ascending),
            "desc" => Ok(Self::Descending),
            _ => Err(Invalid::new("an order is asc or desc")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("", Ok(Order::Ascending { after: Cursor(0) }))]
    #[case("after=5&limit=1", Ok(Order::Ascending { after: Cursor(5) }))]
    #[case("order=asc&after=5", Ok(Order::Ascending { after: Cursor(5) }))]
    #[case("order=desc", Ok(Order::Descending { before: None }))]
    #[case("order=desc&before=5", Ok(Order::Descending { before: Some(Cursor(5)) }))]
    #[case("before=5", Err(400))]
    #[case("order=desc&after=5", Err(400))]
    #[case("order=up", Err(400))]
    #[case("limit=0", Err(400))]
    fn pages(#[case] query: &str, #[case] expected: Result<Order, u16>) {
        let paging = Params::parse(query).and_then(|mut params| Paging::read(&mut params));
        assert_eq!(paging.map(|paging| paging.order).map_err(|problem| problem.status().as_u16()), expected);
    }
}
