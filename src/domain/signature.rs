//! Signatures of requests by Standard Webhooks 1.0.0.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;

use super::{AsymmetricKey, EventId, Invalid, RandomSource};

/// A symmetric secret, `whsec_` + the base64 of 24 to 64 bytes. `Debug` and errors never show it.
pub struct SigningSecret(SecretBox<[u8]>);

const PREFIX: &str = "whsec_";

impl SigningSecret {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = "`whsec_` and the base64 of 24 to 64 random bytes";

    /// Returns a new secret of 32 random bytes.
    #[must_use]
    pub fn generate(rng: &RandomSource) -> Self {
        Self(SecretBox::new(Box::new(rng.bytes::<32>())))
    }

    /// `v1,` + the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }

    /// Returns whether the bytes are such a signature. Compares in constant time.
    #[must_use]
    pub fn fits(&self, id: &str, timestamp: i64, body: &[u8], signature: &[u8]) -> bool {
        self.mac(id, timestamp, body).verify_slice(signature).is_ok()
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }

    /// Returns the text with its prefix `whsec_`, for the store and the answer that shows it once.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.0.expose_secret())).into()
    }
}

impl FromStr for SigningSecret {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(format_args!("a secret is {}", Self::ALLOWED));
        let encoded = text.strip_prefix(PREFIX).ok_or_else(invalid)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| invalid())?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(invalid());
        }
        Ok(Self(SecretBox::new(bytes.into_boxed_slice())))
    }
}

impl Clone for SigningSecret {
    fn clone(&self) -> Self {
        Self(SecretBox::new(self.0.expose_secret().to_vec().into_boxed_slice()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_***")
    }
}

impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The three headers of a signed request. The timestamp is this attempt's, the id the event's on every attempt.
///
/// One signature fits if any does, so all of them stand there: those of the secrets in their order, then the key's.
#[must_use]
pub fn webhook_headers<'a>(
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
    key: Option<&AsymmetricKey>,
    id: &EventId,
    at: Timestamp,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let seconds = at.as_second();
    let secrets = secrets.into_iter().map(|secret| secret.sign(id.as_str(), seconds, body));
    let key = key.map(|key| key.sign(id.as_str(), seconds, body));
    let signatures: Vec<_> = secrets.chain(key).collect();
    [
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that Standard Webhooks' and Svix's own documentation and libraries publish.
    #[rstest::rstest]
    #[case(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )]
    #[case(
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
    )]
    fn published_vectors(
        #[case] secret: &str,
        #[case] id: &str,
        #[case] timestamp: i64,
        #[case] body: &str,
        #[case] signature: &str,
    ) {
        let secret: SigningSecret = secret.parse().unwrap();
        assert_eq!(secret.sign(id, timestamp, body.as_bytes()), signature);
    }

    #[test]
    fn the_reference_library_accepts_what_we_sign() {
        let rng = RandomSource::seeded(3);
        let secret = SigningSecret::generate(&rng);
        #[expect(clippy::disallowed_methods, reason = "the library compares with the machine's own time")]
        let now = Timestamp::now();
        let id = EventId::new(now, &rng);
        let headers = webhook_headers([&secret], None, &id, now, b"{}");
        let map =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let oracle = standardwebhooks::Webhook::new(secret.reveal().expose_secret()).unwrap();
        let map: http::HeaderMap = map.collect();
        oracle.verify(b"{}", &map).unwrap();
        assert!(oracle.verify(b"{ }", &map).is_err());
    }

    #[rstest::rstest]
    fn weak_or_malformed_secrets_are_refused_without_being_shown(
        #[values("", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not/base64!")]
        text: &str,
    ) {
        let error = text.parse::<SigningSecret>().unwrap_err().to_string();
        assert!(text.len() < 8 || !error.contains(&text[6..]), "{error}");
    }

    #[test]
    fn debug_hides_it() {
        assert_eq!(format!("{:?}", SigningSecret::generate(&RandomSource::seeded(1))), "whsec_***");
    }
}
