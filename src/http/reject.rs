//! A look at each request before it goes on, which may refuse it.
//!
//! axum's `from_fn` would do, but each of its layers keeps a copy of the request and a box for as long as the answer takes,
//! and ten thousand who wait have ten thousand of them.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};

/// Puts a look before a service: what it gives is the answer, and else the request goes on.
#[derive(Clone)]
pub(super) struct RejectLayer<L>(pub(super) L);

/// A service with a look before it.
#[derive(Clone)]
pub(super) struct Guarded<S, L> {
    inner: S,
    look: L,
}

impl<S, L: Clone> Layer<S> for RejectLayer<L> {
    type Service = Guarded<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, look: self.0.clone() }
    }
}

impl<S, L> Service<Request> for Guarded<S, L>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    L: Fn(&Request) -> Option<Response>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.look)(&request) {
            Some(refusal) => Either::Left(ready(Ok(refusal))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}
