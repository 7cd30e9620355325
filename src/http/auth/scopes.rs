//! Access of each route of the internal listener, in one table. Routes that are missing in it are for admins.

use http::Method;

use crate::domain::Scope;

/// Access of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// No key is required.
    Public,
    /// No key. A listener that requires no key serves only this machine.
    NoKey,
    /// A key with this scope.
    Scope(Scope),
}

/// Path with its scopes for reading and for everything else.
type ScopeRule = (&'static str, Scope, Scope);

/// Routes of monitoring, which comes from other machines and has no key.
const HEALTH: &[&str] = &["/livez", "/readyz", "/metrics"];

/// Public documents, and links whose code is the secret.
const NO_KEY: &[&str] =
    &["/openapi.json", "/docs", "/docs/", "/.well-known/jwks.json", "/admin/remotepc/sessions/{code}"];

/// Rules. The first one counts whose path equals the route's, or is a prefix of it that ends in `/`.
const RULES: &[ScopeRule] = &[
    ("/v1/events/{id}/replay", Scope::EndpointsWrite, Scope::EndpointsWrite),
    ("/v1/events", Scope::EventsRead, Scope::EventsRead),
    ("/v1/events/", Scope::EventsRead, Scope::EventsRead),
    // A consumer belongs to its reader: moving it changes nothing for others.
    ("/v1/consumers", Scope::EventsRead, Scope::EventsRead),
    ("/v1/consumers/", Scope::EventsRead, Scope::EventsRead),
    ("/v1/authentications", Scope::AuthenticationsRead, Scope::AuthenticationsWrite),
    ("/v1/authentications/", Scope::AuthenticationsRead, Scope::AuthenticationsWrite),
    ("/v1/endpoints", Scope::EndpointsRead, Scope::EndpointsWrite),
    ("/v1/endpoints/", Scope::EndpointsRead, Scope::EndpointsWrite),
    ("/v1/deliveries", Scope::EndpointsRead, Scope::EndpointsWrite),
    ("/v1/deliveries/", Scope::EndpointsRead, Scope::EndpointsWrite),
    ("/v1/remotepc/", Scope::RemotePcRead, Scope::RemotePcWrite),
    // Accepting one may complete an authentication.
    ("/v1/rejected-callbacks", Scope::EventsRead, Scope::Admin),
    ("/v1/rejected-callbacks/", Scope::EventsRead, Scope::Admin),
    ("/v1/audit", Scope::AuditRead, Scope::AuditRead),
    // Upstream's list is a POST.
    ("/admin/remotepc/user/list", Scope::RemotePcRead, Scope::RemotePcRead),
    ("/admin/remotepc", Scope::RemotePcWrite, Scope::RemotePcWrite),
    ("/admin/remotepc/", Scope::RemotePcWrite, Scope::RemotePcWrite),
];

/// Access of a request; `route` is its declared path, `None` without a route.
pub(super) fn access(method: &Method, route: Option<&str>) -> Access {
    // A path without a route is no secret.
    let Some(route) = route else { return Access::NoKey };
    let fits = |path: &str| route == path || (path.ends_with('/') && route.starts_with(path));
    if HEALTH.contains(&route) {
        return Access::Public;
    }
    if NO_KEY.iter().any(|path| fits(path)) {
        return Access::NoKey;
    }
    let rule = RULES.iter().find(|(path, ..)| fits(path));
    Access::Scope(match rule {
        Some((_, read, _)) if *method == Method::GET || *method == Method::HEAD => *read,
        Some((.., write)) => *write,
        None => Scope::Admin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Method::GET, "/v1/events", "events:read")]
    #[case(Method::HEAD, "/v1/events/{id}", "events:read")]
    #[case(Method::GET, "/v1/events/stream", "events:read")]
    #[case(Method::POST, "/v1/events/{id}/replay", "endpoints:write")]
    #[case(Method::POST, "/v1/consumers/{name}/ack", "events:read")]
    #[case(Method::GET, "/v1/authentications/{uaid}", "authentications:read")]
    #[case(Method::PUT, "/v1/authentications/{uaid}", "authentications:write")]
    #[case(Method::POST, "/v1/authentications/{uaid}/claim", "authentications:write")]
    #[case(Method::GET, "/v1/endpoints", "endpoints:read")]
    #[case(Method::POST, "/v1/endpoints", "endpoints:write")]
    #[case(Method::POST, "/v1/endpoints/{id}/secret/rotate", "endpoints:write")]
    #[case(Method::GET, "/v1/deliveries/{id}", "endpoints:read")]
    #[case(Method::POST, "/v1/deliveries/{id}/retry", "endpoints:write")]
    #[case(Method::POST, "/admin/remotepc/user/list", "remotepc:read")]
    #[case(Method::GET, "/admin/remotepc/user/list", "remotepc:read")]
    #[case(Method::POST, "/admin/remotepc/user/add", "remotepc:write")]
    #[case(Method::GET, "/admin/remotepc/{*rest}", "remotepc:write")]
    #[case(Method::GET, "/v1/remotepc/users", "remotepc:read")]
    #[case(Method::POST, "/v1/remotepc/sessions", "remotepc:write")]
    #[case(Method::GET, "/v1/audit", "audit:read")]
    #[case(Method::GET, "/v1/keys", "admin")]
    #[case(Method::GET, "/v1/eventsourcing", "admin")]
    #[case(Method::GET, "/v1/what-comes-next", "admin")]
    #[case(Method::GET, "/what-comes-next", "admin")]
    #[case(Method::GET, "/docsearch", "admin")]
    fn each_route_asks_for_its_scope(#[case] method: Method, #[case] route: &str, #[case] scope: &str) {
        let Access::Scope(asked) = access(&method, Some(route)) else { panic!("{route} asks for no key") };
        assert_eq!(asked.as_str(), scope);
    }

    #[rstest::rstest]
    #[case(Some("/livez"), Access::Public)]
    #[case(Some("/docs"), Access::NoKey)]
    #[case(Some("/docs/style.css"), Access::NoKey)]
    #[case(Some("/admin/remotepc/sessions/{code}"), Access::NoKey)]
    #[case(None, Access::NoKey)]
    fn some_ask_for_no_key(#[case] route: Option<&str>, #[case] asked: Access) {
        assert_eq!(access(&Method::GET, route), asked);
    }
}
