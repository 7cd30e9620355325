//! Hints for an invalid signature: common mistakes of receivers, tried one by one.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::cli::key_ring::Ring;
use crate::domain::{Fault, Known, Signed, Unverified, Verifier};

/// Returns hints, the most likely first; none when the faults explain themselves.
pub(super) fn hints(faults: &Unverified, signed: &Signed<'_>, ring: &Ring, now: Timestamp) -> Vec<String> {
    if faults.0.contains(&Fault::NoSignature) && signed.signature.starts_with("whsec_") {
        return vec!["that is a secret, not a signature: keep it to yourself, and make a new one".to_owned()];
    }
    if !faults.0.contains(&Fault::Misfit) && !faults.0.contains(&Fault::OtherKind) {
        return Vec::new();
    }
    let fits = |known: Vec<Known>, body: &[u8]| {
        Verifier::new(known, None).verify(&Signed { body, ..*signed }, now).is_ok()
    };
    if let Some(other) = ring.others.iter().find(|other| fits(vec![other.known.clone()], signed.body)) {
        return vec![format!("it is signed with {}", other.name)];
    }
    if let Some((_, hint)) = variants(signed.body).iter().find(|(body, _)| fits(ring.all(), body)) {
        return vec![(*hint).to_owned()];
    }
    if !faults.0.contains(&Fault::Misfit) {
        return Vec::new();
    }
    let mut hints = vec![
        "it is signed with another secret, or the body, the id or the timestamp is not what was sent"
            .to_owned(),
    ];
    if serde_json::from_slice::<serde::de::IgnoredAny>(signed.body).is_ok() {
        hints.push(
            "if the body went through a JSON parser it was written anew: verify the bytes as they came in"
                .to_owned(),
        );
    }
    hints
}

/// Returns bodies that a common change may have turned into this one, with the name of the change.
fn variants(body: &[u8]) -> Vec<(Cow<'_, [u8]>, &'static str)> {
    let without_breaks = body.trim_ascii_end();
    let without_mark = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let unix = body.iter().filter(|byte| **byte != b'\r').copied().collect::<Vec<_>>();
    vec![
        (
            without_breaks.into(),
            "the signature fits without the white space at the end of the body: was it added when it was saved?",
        ),
        (without_mark.into(), "the signature fits without the byte order mark in front of the body"),
        (unix.into(), "the signature fits when lines end as on Unix: something changed the line ends"),
        (
            compact(body).into(),
            "the signature fits without white space between the JSON's parts: the body was parsed and written anew; \
             verify the bytes as they came in",
        ),
        (
            b"".as_slice().into(),
            "the signature is over an empty body: a `remauth` endpoint gets a GET, which has none",
        ),
    ]
}

/// Returns JSON without white space between tokens.
fn compact(body: &[u8]) -> Vec<u8> {
    let mut in_text = false;
    let mut escaped = false;
    let keep = |byte: &u8| {
        if in_text {
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_text = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    body.iter().copied().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[rstest::rstest]
    #[case("{ \"a\" : [1, 2],\n\t\"b\": \"x y\" }\n", r#"{"a":[1,2],"b":"x y"}"#)]
    #[case(r#"{"a": "\" b: \\", "c": "\\\" d" }"#, r#"{"a":"\" b: \\","c":"\\\" d"}"#)]
    #[case("", "")]
    fn white_space_goes_but_for_that_in_texts(#[case] given: &str, #[case] expected: &str) {
        assert_eq!(String::from_utf8(compact(given.as_bytes())).unwrap(), expected);
    }
}
