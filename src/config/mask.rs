//! Values without their secrets.

use url::Url;

use super::key::Shown;

/// Text in the place of a secret.
const MASK: &str = "***";

/// The part of a value that may be shown, with a mask in the place of the rest.
pub(super) fn masked(text: &str, shown: Shown) -> String {
    match shown {
        Shown::Plain => text.to_owned(),
        Shown::Secret => MASK.to_owned(),
        Shown::SecretUrl if text.starts_with("sqlite://") => text.to_owned(),
        Shown::Url | Shown::SecretUrl => match Url::parse(text) {
            Ok(url) => masked_url(url, shown).unwrap_or_else(|| MASK.to_owned()),
            // A text that is not a URL may hold a secret at any place, unless it lacks the marks that precede one.
            Err(_) if text.contains(['@', '?', '#']) => MASK.to_owned(),
            Err(_) => text.to_owned(),
        },
    }
}

/// A URL without its secrets; nothing when they cannot be told apart from the rest.
fn masked_url(mut url: Url, shown: Shown) -> Option<String> {
    let misplaced = |part: &str| part.contains('@');
    if misplaced(url.path()) || url.query().is_some_and(misplaced) || url.fragment().is_some() {
        return None;
    }
    if url.password().is_some() {
        url.set_password(Some(MASK)).ok()?;
    }
    // A database's user is no secret; elsewhere a token often stands in that place.
    if !url.username().is_empty() && !url.scheme().starts_with("postgres") {
        url.set_username(MASK).ok()?;
    }
    if url.query().is_some() {
        let query = if shown == Shown::SecretUrl { masked_options(&url) } else { MASK.to_owned() };
        url.set_query(Some(&query));
    }
    Some(url.into())
}

/// A database's options without the passwords among them.
fn masked_options(url: &Url) -> String {
    let pairs = url.query_pairs().map(|(name, value)| {
        let hidden = name.to_ascii_lowercase().contains("password");
        format!("{name}={}", if hidden { MASK } else { &value })
    });
    pairs.collect::<Vec<_>>().join("&")
}
