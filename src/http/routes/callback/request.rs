//! Reads a callback's path, query and form body.
//!
//! RemAuth does not document how it joins its parameter to a registered URL, and values pass through consoles, spreadsheets
//! and mail programs before they are registered. So results of naive joining are understood as well, and so are
//! characters that people and programs put around a value.

use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::domain::{CallbackType, Uaid};

/// First segment of the callback's path.
const CALLBACK: &str = "remauth_callback";

/// Maximum number of events in one callback. RemAuth sends one.
const MAX_EVENTS: usize = 1000;

/// Maximum number of times that a value is decoded: once as the standard says, and once more where it was encoded twice.
const MAX_DECODINGS: u8 = 2;

/// Characters that separate parameters. A `?` where a `&` belongs and a `;` come from naive joining.
const SEPARATORS: [char; 3] = ['&', '?', ';'];

/// Request to the public listener as text, before authentication.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CallbackRequest {
    /// True if the path is the callback's, with at most one further segment.
    pub(super) is_callback: bool,
    /// Texts that may be the token, in the order of precedence.
    pub(super) tokens: Vec<String>,
    /// Names and values of all other parameters, in their order.
    pub(super) pairs: Vec<(String, String)>,
}

impl CallbackRequest {
    /// Reads a path and a query.
    ///
    /// Besides `/remauth_callback/TOKEN?authenticated=UAID` these forms are understood: repeated slashes, a trailing slash,
    /// `/remauth_callback/TOKEN&authenticated=UAID`, `?token=TOKEN?authenticated=UAID`, `&amp;` for `&`, and separators
    /// that are percent-encoded.
    pub(super) fn read(path: &str, query: &str) -> Self {
        let mut segments = Vec::new();
        let mut pairs = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let segment = percent_decode_str(segment).decode_utf8_lossy();
            let (head, tail) = segment.split_once(SEPARATORS).unwrap_or((&segment, ""));
            if !trimmed(head).is_empty() {
                segments.push(trimmed(head).to_owned());
            }
            collect(tail, 1, &mut pairs);
        }
        collect(query, 0, &mut pairs);
        let is_callback = segments.first().is_some_and(|first| first == CALLBACK) && segments.len() <= 2;
        let mut tokens = segments;
        tokens.retain(|segment| segment != CALLBACK);
        tokens.extend(pairs.extract_if(.., |(name, _)| name == "token").map(|(_, value)| value));
        Self { is_callback, tokens, pairs }
    }

    /// Adds the parameters of a form body.
    pub(super) fn add_form(&mut self, body: &str) {
        let mut pairs = Vec::new();
        collect(body, 0, &mut pairs);
        pairs.retain(|(name, _)| name != "token");
        self.pairs.extend(pairs);
    }

    /// Returns the events that the parameters name, each once, in their order.
    ///
    /// # Errors
    /// The name of the first parameter with a malformed value, or `authenticated` without any of the three.
    pub(super) fn events(&self) -> Result<Vec<(CallbackType, Uaid)>, &'static str> {
        let mut events = Vec::new();
        for (name, value) in &self.pairs {
            let Ok(callback) = name.parse::<CallbackType>() else { continue };
            let uaid = uaid(value).ok_or(callback.as_str())?;
            if !events.contains(&(callback, uaid)) {
                events.push((callback, uaid));
            }
            if events.len() > MAX_EVENTS {
                return Err(callback.as_str());
            }
        }
        if events.is_empty() { Err(CallbackType::Authenticated.as_str()) } else { Ok(events) }
    }
}

/// Decodes the parameters of `text`, which was decoded `decodings` times before.
fn collect(text: &str, decodings: u8, pairs: &mut Vec<(String, String)>) {
    for pair in text.split(SEPARATORS).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        let value = decoded(value);
        // `token%3DT` and `token=T%26authenticated%3DU`: the encoded text contains parameters.
        let joined = name.contains('=') || name.contains(SEPARATORS);
        let nested = is_known(&name) && (value.contains(SEPARATORS) || value.contains('%'));
        if (joined || nested) && decodings < MAX_DECODINGS {
            let text = if value.is_empty() { name } else { format!("{name}={value}") };
            collect(&text, decodings + 1, pairs);
        } else {
            pairs.push((trimmed(&name).to_owned(), trimmed(&value).to_owned()));
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Returns whether a parameter has a meaning.
fn is_known(name: &str) -> bool {
    let name = trimmed(name);
    name == "token" || name.parse::<CallbackType>().is_ok()
}

/// Returns a value without surrounding white space, quotation marks and slashes, none of which can be part of a token or uaid.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, '"' | '\'' | '`' | '/' | '\\' | '\u{ab}' | '\u{bb}' | '\u{feff}')
            || ('\u{200b}'..='\u{200f}').contains(&character)
            || ('\u{2018}'..='\u{201f}').contains(&character)
    })
}

/// Parses 32 hexadecimal digits, also in the other notations of a UUID: with dashes, in braces, as a URN.
fn uaid(value: &str) -> Option<Uaid> {
    let plain: String =
        value.chars().map(|c| if ('\u{2010}'..='\u{2015}').contains(&c) { '-' } else { c }).collect();
    Uuid::try_parse(&plain).ok()?.simple().to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "kZ3vX9mQ2rT7wB5nL8cJ4A";
    const UAID: &str = "b83ee873a9b44f2083c130db24dfbe91";

    #[rstest::rstest]
    #[case("/remauth_callback/TOKEN?authenticated=UAID")]
    #[case("/remauth_callback/TOKEN/?authenticated=UAID")]
    #[case("//remauth_callback/TOKEN?authenticated=UAID")]
    #[case("/remauth_callback//TOKEN//?authenticated=UAID")]
    #[case("/remauth_callback/?token=TOKEN&authenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN?authenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN&amp;authenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN&amp%3Bauthenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN;authenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN%26authenticated=UAID")]
    #[case("/remauth_callback?token=TOKEN%26authenticated%3DUAID")]
    #[case("/remauth_callback?token=TOKEN%2526authenticated%253DUAID")]
    #[case("/remauth_callback?token%3DTOKEN%26authenticated%3DUAID")]
    #[case("/remauth_callback?token=TOKEN%3Fauthenticated=UAID")]
    #[case("/remauth_callback?authenticated=UAID%26token%3DTOKEN")]
    #[case("/remauth_callback/TOKEN&authenticated=UAID")]
    #[case("/remauth_callback/TOKEN&authenticated=UAID/")]
    #[case("/remauth_callback/TOKEN/&authenticated=UAID")]
    #[case("/remauth_callback/TOKEN%3Fauthenticated=UAID")]
    #[case("/remauth_callback/TOKEN%3Fauthenticated%3DUAID")]
    #[case("/remauth_callback/TOKEN%26authenticated=UAID")]
    #[case("/remauth_callback/TOKEN%2F?authenticated=UAID")]
    #[case("/remauth_callback/TOKEN%20?authenticated=UAID")]
    #[case("/remauth_callback/TOKEN??authenticated=UAID")]
    #[case("/remauth_callback/TOKEN?&authenticated=UAID&")]
    #[case("/remauth_callback/%6BTOKEN?authenticated=UAID")]
    #[case("/remauth_callback/TOKEN?authenticated=%20UAID%0D%0A")]
    #[case("/remauth_callback/TOKEN?authenticated=+UAID+")]
    #[case("/remauth_callback/TOKEN?%20authenticated=UAID")]
    #[case("/remauth_callback/TOKEN?authenticated=%22UAID%22")]
    #[case("/remauth_callback/TOKEN?authenticated='UAID'")]
    #[case("/remauth_callback/TOKEN?authenticated=%E2%80%9CUAID%E2%80%9D")]
    #[case("/remauth_callback/TOKEN?authenticated=UAID/")]
    #[case("/remauth_callback/TOKEN?authenticated=UAID%2F")]
    #[case("/remauth_callback/TOKEN?authenticated=%2520UAID")]
    #[case("/remauth_callback/TOKEN?authenticated=b83ee873-a9b4-4f20-83c1-30db24dfbe91")]
    #[case("/remauth_callback/TOKEN?authenticated={B83EE873-A9B4-4F20-83C1-30DB24DFBE91}")]
    #[case("/remauth_callback/TOKEN?authenticated=%7Bb83ee873-a9b4-4f20-83c1-30db24dfbe91%7D")]
    #[case(
        "/remauth_callback/TOKEN?authenticated=b83ee873%E2%80%93a9b4%E2%80%934f20%E2%80%9383c1%E2%80%9330db24dfbe91"
    )]
    #[case("/remauth_callback/TOKEN?authenticated=urn:uuid:b83ee873-a9b4-4f20-83c1-30db24dfbe91")]
    fn written_in_many_ways(#[case] address: &str) {
        let address = address
            .replace("%6BTOKEN", &format!("%6B{}", &TOKEN[1..]))
            .replace("TOKEN", TOKEN)
            .replace("UAID", UAID);
        let (path, query) = address.split_once('?').unwrap_or((&address, ""));
        let request = CallbackRequest::read(path, query);
        assert!(request.is_callback, "{request:?}");
        assert_eq!(request.tokens, [TOKEN]);
        assert_eq!(request.events(), Ok(vec![(CallbackType::Authenticated, UAID.parse().unwrap())]));
    }

    #[rstest::rstest]
    #[case("authenticated=")]
    #[case("authenticated")]
    #[case("authenticated=UAID0")]
    #[case("authenticated=UAID%00x")]
    #[case("authenticated=b83ee873-a9b44f20-83c1-30db24dfbe91")]
    #[case("authenticated=b83ee873a9b44f2083c130db24dfbe9g")]
    #[case("other=UAID")]
    #[case("Authenticated=UAID")]
    #[case("other=a%26authenticated%3DUAID")]
    #[case("")]
    fn cannot_be_understood(#[case] query: &str) {
        let request = CallbackRequest::read("/remauth_callback", &query.replace("UAID", UAID));
        assert_eq!(request.events(), Err("authenticated"), "{request:?}");
    }

    #[rstest::rstest]
    #[case("/", false, &[])]
    #[case("/remauth_callbacks", false, &["remauth_callbacks"])]
    #[case("/remauth_callback/a/b", false, &["a", "b"])]
    #[case("/x/remauth_callback/a", false, &["x", "a"])]
    #[case("/remauth_callback/a?token=b", true, &["a", "b"])]
    #[case("/remauth_callback?token=&token=b", true, &["", "b"])]
    fn paths(#[case] address: &str, #[case] is_callback: bool, #[case] tokens: &[&str]) {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let request = CallbackRequest::read(path, query);
        assert_eq!(request.is_callback, is_callback);
        assert_eq!(request.tokens, tokens);
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(path in "[ -~]{0,60}", query in "\\PC{0,60}") {
            let mut request = CallbackRequest::read(&path, &query);
            request.add_form(&query);
            let _ = request.events();
        }

        /// A request names only uaids whose digits stand in it.
        #[test]
        fn no_uaid_is_invented(query in "(authenticated|token|=|&|%26|%3D|[0-9a-f]{32}|-|\\{|\\}| ){0,12}") {
            if let Ok(events) = CallbackRequest::read("/remauth_callback", &query).events() {
                let digits: String = query.chars().filter(char::is_ascii_hexdigit).collect();
                for (_, uaid) in events {
                    prop_assert!(digits.contains(&uaid.to_string()));
                }
            }
        }
    }
}
