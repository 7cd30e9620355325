//! The page of `docs/login.md` in a real browser, at another origin than remgate's door.

use http::Method;
use serde_json::json;

use super::{at, confirmed, expect, service};
use crate::support::clients::{browser, snippet};
use crate::support::engine::{Engine, both_engines};
use crate::support::junction::Junction;
use crate::support::process::Process;
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::service::Service;
use crate::support::within;

/// The app's own server: it has the page, and the places where the page goes on to.
struct App(Receiver);

impl App {
    async fn start() -> Self {
        Self(Receiver::start().await)
    }

    fn origin(&self) -> String {
        self.0.url("")
    }

    /// Opens the page with this ticket.
    fn open(&self, ticket_url: &str) -> Process {
        let page = snippet("login.md", "In the browser", "html");
        let page = page.replace("TICKET_URL", &json!(ticket_url).to_string());
        assert!(page.contains(ticket_url), "the page takes a ticket");
        self.0.answer(move |asked| match asked.target.as_str() {
            "/page" => Answer::status(200).header("content-type", "text/html").body(page.clone()),
            _ => Answer::status(200).header("content-type", "text/html").body("here"),
        });
        browser(&self.0.url("/page")).spawn()
    }

    /// The next place that the browser goes to.
    async fn visited(&mut self) -> String {
        let place = async {
            loop {
                let asked = self.0.next().await;
                if is_page(&asked) {
                    return asked.target;
                }
            }
        };
        within("the browser", place).await
    }
}

/// Browsers ask for an icon, too.
fn is_page(asked: &Received) -> bool {
    asked.method == Method::GET && asked.target != "/favicon.ico"
}

async fn ticket(service: &Service, number: u64, seconds: u64) -> String {
    assert_eq!(expect(&service.internal, number, seconds).await, 201);
    let ticket =
        service.internal.post(&format!("{}/ticket", at(number)), &json!({})).await.expect(201).json();
    ticket["url"].as_str().expect("a text").to_owned()
}

fn listed(app: &App) -> String {
    format!("public.cors_origins = [\"{}\"]", app.origin())
}

both_engines! {
    async fn a_page_waits_through_a_restart_and_goes_on(engine: Engine) {
        let mut app = App::start().await;
        let first = service(&engine, &listed(&app)).await;
        let junction = Junction::to(first.process.public_addr()).await;
        let _browser = app.open(&junction.url(&ticket(&first, 1, 300).await));
        assert_eq!(app.visited().await, "/page");
        first.until_metric("remgate_waiters", 1).await;
        first.process.kill();
        first.process.wait().await;
        let second = service(&engine, &listed(&app)).await;
        junction.lead_to(second.process.public_addr());
        second.until_metric("remgate_waiters", 1).await;
        confirmed(&second, 1).await;
        assert_eq!(app.visited().await, "/signed-in");
        second.until_metric("remgate_waiters", 0).await;
    }
}

#[tokio::test]
async fn a_page_learns_that_the_time_is_over() {
    let engine = Engine::sqlite();
    let mut app = App::start().await;
    let service = service(&engine, &listed(&app)).await;
    let path = ticket(&service, 1, 5).await;
    let _browser = app.open(&format!("{}{path}", service.public.base()));
    assert_eq!(app.visited().await, "/page");
    assert_eq!(app.visited().await, "/login?again");
}

#[tokio::test]
async fn a_page_of_another_origin_learns_nothing() {
    let engine = Engine::sqlite();
    let (mut app, other) = (App::start().await, App::start().await);
    let service = service(&engine, &listed(&other)).await;
    let path = ticket(&service, 1, 300).await;
    confirmed(&service, 1).await;
    let browser = app.open(&format!("{}{path}", service.public.base()));
    assert_eq!(app.visited().await, "/page");
    browser.line(|line| line.contains("blocked by CORS policy")).await;
    assert!(!app.0.arrived().iter().any(is_page), "it goes nowhere");
}
