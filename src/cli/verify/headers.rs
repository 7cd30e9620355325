//! Parser of the three headers from logs of receivers: lines with a colon, or a JSON object.

use serde_json::{Map, Value as Json};

/// The three headers; a missing one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ReceivedHeaders {
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) signature: String,
}

impl ReceivedHeaders {
    /// Parses lines, of which others are ignored, or JSON, which may have them under `headers`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut given = Self::default();
        if text.trim_start().starts_with('{') {
            let object: Map<String, Json> = serde_json::from_str(text)
                .map_err(|_| "begins like a JSON object, and is none".to_owned())?;
            let headers = object.get("headers").and_then(Json::as_object).unwrap_or(&object);
            for (name, value) in headers {
                for text in texts(value) {
                    given.note(name, text)?;
                }
            }
            return Ok(given);
        }
        for line in text.lines() {
            // As `curl -v` prints what it sends.
            let line = line.trim_start_matches("> ");
            if let Some((name, value)) = line.split_once(':') {
                given.note(name, value)?;
            }
        }
        Ok(given)
    }

    fn note(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = name.trim().to_ascii_lowercase();
        let place = match name.as_str() {
            "webhook-id" => &mut self.id,
            "webhook-timestamp" => &mut self.timestamp,
            "webhook-signature" => &mut self.signature,
            _ => return Ok(()),
        };
        if !place.is_empty() {
            return Err(format!("has {name} more than once; it is not clear which one counts"));
        }
        value.trim().clone_into(place);
        Ok(())
    }
}

/// A value may be a text or a list of texts.
fn texts(value: &Json) -> Vec<&str> {
    match value {
        Json::Array(values) => values.iter().filter_map(Json::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::ReceivedHeaders;

    #[rstest::rstest]
    #[case("webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,x v1,y=")]
    #[case(
        "POST /hook HTTP/1.1\r\nHost: h:80\r\nWebhook-Id:a\r\nWebhook-Timestamp:  1 \r\nWEBHOOK-SIGNATURE: v1,x v1,y=\r\n\r\n"
    )]
    #[case("> webhook-id: a\n> webhook-timestamp: 1\n> webhook-signature: v1,x v1,y=\n* all sent")]
    #[case(r#"{"Webhook-Id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,x v1,y=", "x": 1}"#)]
    #[case(
        r#"{"method":"POST","headers":{"webhook-id":["a"],"webhook-timestamp":["1"],"webhook-signature":["v1,x v1,y="]}}"#
    )]
    fn headers_are_found_however_they_were_logged(#[case] text: &str) {
        let expected = ReceivedHeaders {
            id: "a".to_owned(),
            timestamp: "1".to_owned(),
            signature: "v1,x v1,y=".to_owned(),
        };
        assert_eq!(ReceivedHeaders::read(text), Ok(expected));
    }

    #[rstest::rstest]
    #[case("webhook-id: a\nwebhook-id: b", "webhook-id more than once")]
    #[case(r#"{"webhook-id": ["a", "b"]}"#, "webhook-id more than once")]
    #[case("{", "JSON")]
    fn what_could_be_read_in_two_ways_is_refused(#[case] text: &str, #[case] said: &str) {
        assert!(ReceivedHeaders::read(text).unwrap_err().contains(said));
    }

    #[test]
    fn what_is_not_there_is_empty() {
        assert_eq!(ReceivedHeaders::read("no header here"), Ok(ReceivedHeaders::default()));
    }
}
