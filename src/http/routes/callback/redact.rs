//! Requests as text without the secrets in them.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use crate::http::callback_auth::CallbackAuth;

const MASK: &str = "***";

/// A path segment of fewer characters cannot be a token, which has at least 22.
const TOKEN_LENGTH: usize = 22;

/// Returns a path for the log: segments that could be a token or an id are masked.
pub(super) fn path(path: &str) -> String {
    let plain = |segment: &str| {
        segment.len() < TOKEN_LENGTH
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
    };
    let mut shown: Vec<_> =
        path.split('/').take(8).map(|segment| if plain(segment) { segment } else { MASK }).collect();
    if path.split('/').nth(8).is_some() {
        shown.push("...");
    }
    shown.join("/")
}

/// Returns a request as text of at most `most` bytes: percent-decoded, with every configured token masked.
pub(super) fn request(gate: &CallbackAuth, method: &Method, uri: &Uri, body: &str, most: usize) -> String {
    let mut text = format!("{method} {}", masked(gate, uri.path()));
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(&masked(gate, query));
    }
    if !body.is_empty() {
        text.push('\n');
        // A word that is cut off could be the beginning of a token.
        let beginning = if body.len() > most { cut(body, most).trim_end_matches(is_word) } else { body };
        text.push_str(&masked(gate, beginning));
    }
    // Neither engine keeps a NUL in a text.
    cut(&text.replace('\0', "\u{fffd}"), most).to_owned()
}

/// Returns the beginning of a text, at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most.min(text.len()))]
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// Decodes until nothing is encoded, and masks every word that is a token.
fn masked(gate: &CallbackAuth, text: &str) -> String {
    let mut plain = text.to_owned();
    for _ in 0..4 {
        match percent_decode_str(&plain).decode_utf8_lossy() {
            Cow::Owned(decoded) if decoded != plain => plain = decoded,
            _ => break,
        }
    }
    let mut shown = String::with_capacity(plain.len());
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(is_word) {
        let end = rest[start..]
            .find(|character: char| !is_word(character))
            .map_or(rest.len(), |length| start + length);
        shown.push_str(&rest[..start]);
        let mut word = &rest[start..end];
        while let Some(token) = gate.token_in(word) {
            shown.push_str(&word[..token.start]);
            shown.push_str(MASK);
            word = &word[token.end..];
        }
        shown.push_str(word);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::callback_auth::GateRule;

    const TOKEN: &str = "kZ3vX9mQ2rT7wB5nL8cJ4A";

    fn gate() -> CallbackAuth {
        let service = "default".parse().unwrap();
        CallbackAuth::new(vec![GateRule { service, tokens: vec![TOKEN.into()], allow_from: Vec::new() }])
    }

    #[rstest::rstest]
    #[case("/wp-login.php", "/wp-login.php")]
    #[case("/kZ3vX9mQ2rT7wB5nL8cJ4A/a", "/***/a")]
    #[case("/a%20b", "/***")]
    #[case("/1/2/3/4/5/6/7/8/9", "/1/2/3/4/5/6/7/...")]
    fn paths_for_the_log(#[case] given: &str, #[case] shown: &str) {
        assert_eq!(path(given), shown);
    }

    #[rstest::rstest]
    #[case("/remauth_callback/TOKEN?authenticated=x", "", "GET /remauth_callback/***?authenticated=x")]
    #[case("/remauth_callback?token=TOKEN&a=b", "", "GET /remauth_callback?token=***&a=b")]
    #[case("/remauth_callback?token=%6BZ3vX9mQ2rT7wB5nL8cJ4A", "", "GET /remauth_callback?token=***")]
    #[case("/remauth_callback?token=%256BZ3vX9mQ2rT7wB5nL8cJ4A", "", "GET /remauth_callback?token=***")]
    #[case("/remauth_callback", "{\"token\":\"TOKEN\"}", "GET /remauth_callback\n{\"token\":\"***\"}")]
    #[case("/remauth_callback", "xTOKEN TOKENx \0", "GET /remauth_callback\nx*** ***x \u{fffd}")]
    fn requests(#[case] address: &str, #[case] body: &str, #[case] shown: &str) {
        let address = address.replace("TOKEN", TOKEN);
        let body = body.replace("TOKEN", TOKEN);
        assert_eq!(request(&gate(), &Method::GET, &address.parse().unwrap(), &body, 1000), shown);
    }

    #[test]
    fn long_requests_are_cut_between_characters() {
        let text = request(&gate(), &Method::GET, &Uri::from_static("/"), &"\u{e4}".repeat(100), 20);
        assert!(text.len() <= 20 && text.starts_with("GET /\n\u{e4}"), "{text}");
    }
}
