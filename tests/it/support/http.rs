//! Asks like an app would: one request, the whole answer.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{BOUND, within};

/// Client of one listener.
#[derive(Clone)]
pub(crate) struct Client {
    inner: reqwest::Client,
    base: String,
    bearer: Option<String>,
    headers: HeaderMap,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status code.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Client {
    /// Asks `base`, such as `http://127.0.0.1:8081`. It follows no redirect and knows no proxy.
    pub(crate) fn at(base: &str) -> Self {
        // Every test may be the first; the second one's wish is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "this is where the tests' client is configured")]
        let builder = reqwest::Client::builder();
        let builder = builder.redirect(reqwest::redirect::Policy::none()).no_proxy();
        // Loopback needs no certificates, and a machine without any must be able to test.
        let inner = builder.tls_certs_only([]).timeout(BOUND).build().expect("nothing in it can be wrong");
        Self { inner, base: base.trim_end_matches('/').to_owned(), bearer: None, headers: HeaderMap::new() }
    }

    /// Base URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// With this key from now on.
    pub(crate) fn bearer(mut self, key: &str) -> Self {
        self.bearer = Some(key.to_owned());
        self
    }

    /// With one more header from now on.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().expect("tests name real values"));
        self
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    /// POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, Some(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None).await
    }

    /// Any method, with a JSON body or none.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.send(method, path, |request| match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// Whatever `prepare` makes of the request: a form, a body that is no JSON, a header for this one only.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        prepare: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let what = format!("an answer to {method} {path}");
        let request =
            self.inner.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        let request = match &self.bearer {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let exchange = async {
            let response = prepare(request).send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>(Answer { status, headers, body: response.bytes().await? })
        };
        within(&what, exchange).await.unwrap_or_else(|e| panic!("no {what}: {e:?}"))
    }
}

impl Answer {
    /// The body, read as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The body, read as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("our bodies are text")
    }

    /// A header's text; a panic when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header `{name}` in {self:?}"));
        value.to_str().expect("our headers are text")
    }

    /// Itself, when the status is the one expected; a panic that shows the whole answer otherwise.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(Some(self.status), StatusCode::from_u16(status).ok().map(|s| s.as_u16()), "{self:?}");
        self
    }
}
