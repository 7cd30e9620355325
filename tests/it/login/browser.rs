//! The page of `docs/how-to/sign-in-users.md` in a real browser, at another origin than remgate's public listener.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{at, confirmed, expect, look, service};
use crate::support::clients::{browser, snippet};
use crate::support::engine::{Engine, both_engines};
use crate::support::junction::Junction;
use crate::support::process::Process;
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::service::Service;
use crate::support::within;

/// Maximum time for the start of a browser. The first start on a machine that compiles at the same time has taken over 20 s.
const BROWSER_START: Duration = Duration::from_mins(2);

/// Permit for the one browser that runs at a time: a browser alone uses both cores of a small machine.
static BROWSERS: Semaphore = Semaphore::const_new(1);

/// A browser that has asked for the page. It ends with this value.
struct OpenPage {
    browser: Process,
    _permit: SemaphorePermit<'static>,
}

/// The app's own server: it has the page, and the places where the page goes on to.
struct App(Receiver);

impl App {
    async fn start() -> Self {
        Self(Receiver::start().await)
    }

    fn origin(&self) -> String {
        self.0.url("")
    }

    /// Opens the page with this ticket in a browser, and waits until the browser has asked for the page.
    async fn open(&mut self, permit: SemaphorePermit<'static>, ticket_url: &str) -> OpenPage {
        let page = snippet("how-to/sign-in-users.md", "In the browser", "html");
        let page = page.replace("TICKET_URL", &json!(ticket_url).to_string());
        assert!(page.contains(ticket_url), "the page takes a ticket");
        self.0.answer(move |asked| match asked.target.as_str() {
            "/page" => Answer::status(200).header("content-type", "text/html").body(page.clone()),
            _ => Answer::status(200).header("content-type", "text/html").body("here"),
        });
        let browser = browser(&self.0.url("/page")).spawn();
        assert_eq!(self.0.next_within(BROWSER_START).await.target, "/page");
        OpenPage { browser, _permit: permit }
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

/// Waits until no other test has a browser. Tickets are made after it: they expire.
async fn browser_permit() -> SemaphorePermit<'static> {
    BROWSERS.acquire().await.expect("the semaphore is never closed")
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
        let permit = browser_permit().await;
        let mut app = App::start().await;
        let first = service(&engine, &listed(&app)).await;
        let junction = Junction::to(first.process.public_addr()).await;
        let _page = app.open(permit, &junction.url(&ticket(&first, 1, 300).await)).await;
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
    let permit = browser_permit().await;
    let engine = Engine::sqlite();
    let mut app = App::start().await;
    let service = service(&engine, &listed(&app)).await;
    let path = ticket(&service, 1, 5).await;
    let _page = app.open(permit, &format!("{}{path}", service.public.base())).await;
    assert_eq!(app.visited().await, "/login?again");
}

#[tokio::test]
async fn a_page_that_opens_after_the_time_is_not_left_waiting() {
    let permit = browser_permit().await;
    let engine = Engine::sqlite();
    let mut app = App::start().await;
    let service = service(&engine, &listed(&app)).await;
    let path = ticket(&service, 1, 1).await;
    assert_eq!(look(&service.internal, 1).await["status"], "expired");
    let _page = app.open(permit, &format!("{}{path}", service.public.base())).await;
    assert_eq!(app.visited().await, "/login?again");
}

#[tokio::test]
async fn a_page_of_another_origin_learns_nothing() {
    let permit = browser_permit().await;
    let engine = Engine::sqlite();
    let (mut app, other) = (App::start().await, App::start().await);
    let service = service(&engine, &listed(&other)).await;
    let path = ticket(&service, 1, 300).await;
    confirmed(&service, 1).await;
    let page = app.open(permit, &format!("{}{path}", service.public.base())).await;
    page.browser.line(|line| line.contains("blocked by CORS policy")).await;
    assert_eq!(app.visited().await, "/login?again", "the page does not learn that the user has confirmed");
}
