//! The two engines: one test body becomes two tests.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

use super::postgres;

/// One of the two engines, with an empty store of its own.
pub(crate) struct Engine {
    name: &'static str,
    url: String,
    _folder: Option<TempDir>,
}

impl Engine {
    /// A file that does not exist yet, in a folder that goes with this value.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("failed to create a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("remgate.db").display());
        Self { name: "sqlite", url, _folder: Some(folder) }
    }

    /// An empty database on the private server.
    pub(crate) async fn postgres() -> Self {
        Self { name: "postgres", url: postgres::database().await.url, _folder: None }
    }

    /// Another empty store on the same engine.
    pub(crate) async fn another(&self) -> Self {
        if self.name == "sqlite" { Self::sqlite() } else { Self::postgres().await }
    }

    /// `sqlite` or `postgres`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Does something to the store behind the service's back.
    pub(crate) async fn run(&self, statement: &'static str) {
        let done = if self.name == "sqlite" {
            SqliteConnection::connect(&self.url)
                .await
                .expect("it is there")
                .execute(statement)
                .await
                .map(drop)
        } else {
            PgConnection::connect(&self.url).await.expect("it is there").execute(statement).await.map(drop)
        };
        done.unwrap_or_else(|e| panic!("{e} in {statement}"));
    }

    /// Value of `database.url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Makes two tests, `name::sqlite` and `name::postgres`, of each body. Its parameter is an [`Engine`] with an empty store, or a
/// [`Service`](super::service::Service) or [`TestGateway`](super::gateway::TestGateway) that runs on one without further configuration.
macro_rules! both_engines {
    ($($(#[$about:meta])* async fn $name:ident($($argument:ident)+: $kind:ident) $body:block)+) => {$(
        $(#[$about])*
        async fn $name(engine: $crate::support::engine::Engine) {
            $crate::support::engine::start!(engine, $($argument)+, $kind);
            $body
        }

        #[cfg(test)]
        mod $name {
            use $crate::support::engine::Engine;

            #[tokio::test]
            async fn sqlite() {
                super::$name(Engine::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$name(Engine::postgres().await).await;
            }
        }
    )+};
}

/// Binds the parameter of a body of [`both_engines!`].
macro_rules! start {
    ($engine:ident, $($argument:ident)+, Engine) => {
        let $($argument)+ = $engine;
    };
    ($engine:ident, $($argument:ident)+, Service) => {
        let $($argument)+ = $crate::support::service::Service::start(&$engine, "").await;
    };
    ($engine:ident, $($argument:ident)+, TestGateway) => {
        let $($argument)+ = $crate::support::gateway::TestGateway::start($engine.url(), "").await;
    };
}

pub(crate) use {both_engines, start};
