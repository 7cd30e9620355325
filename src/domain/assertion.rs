//! Signed assertions about authentications, which an app can show to another.
//!
//! They are JSON Web Tokens (RFC 7519) signed with `EdDSA` (RFC 8037). `jsonwebtoken` writes them; the signature is
//! made by the ed25519 library that also signs webhooks, so that no second cryptography library is needed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use jiff::Timestamp;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Authentication, EventId, EventType, Invalid, RandomSource, ServiceName, Trust, Uaid};

/// Lifetime of an assertion.
pub const ASSERTION_LASTS: Duration = Duration::from_mins(1);

/// Signing key of assertions. Its text is the base64url of its 32 secret bytes; `Debug` never shows it.
#[derive(Clone)]
pub struct AssertionKey {
    encoding: EncodingKey,
    public: String,
    id: String,
}

/// Claims of an assertion. `sub` is the subject of the expectation, or the uaid without one.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a ServiceName,
    sub: &'a str,
    uaid: Uaid,
    expected: bool,
    jti: String,
    iat: i64,
    exp: i64,
    /// Time of the authentication, as `OpenID` Connect names it.
    auth_time: Option<i64>,
    #[serde(rename = "type")]
    event_type: Option<EventType>,
    trust: Option<Trust>,
    event: Option<&'a EventId>,
}

impl AssertionKey {
    /// Returns the text of a new key.
    #[must_use]
    pub fn generate(rng: &RandomSource) -> SecretString {
        URL_SAFE_NO_PAD.encode(rng.bytes::<32>()).into()
    }

    /// Signs an assertion about a completed authentication, for the apps of its service.
    #[must_use]
    pub fn issue_assertion(
        &self,
        authentication: &Authentication,
        issuer: &str,
        now: Timestamp,
        rng: &RandomSource,
    ) -> String {
        let second = now.as_second();
        let uaid = authentication.uaid.to_string();
        let claims = Claims {
            iss: issuer,
            aud: &authentication.service,
            sub: authentication.subject.as_deref().unwrap_or(&uaid),
            uaid: authentication.uaid,
            expected: authentication.expected,
            jti: URL_SAFE_NO_PAD.encode(rng.bytes::<16>()),
            iat: second,
            exp: second.saturating_add(i64::try_from(ASSERTION_LASTS.as_secs()).unwrap_or(0)),
            auth_time: authentication.completed_at.map(Timestamp::as_second),
            event_type: authentication.event_type,
            trust: authentication.trust,
            event: authentication.event.as_ref(),
        };
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.encoding).expect("the key and the claims are our own")
    }

    /// Returns the public half as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn key_set(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "x": self.public, "kid": self.id, "alg": "EdDSA", "use": "sig",
        }]})
    }
}

impl FromStr for AssertionKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("the key of assertions is the base64url of 32 bytes");
        let secret: [u8; 32] =
            URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?.try_into().map_err(|_| invalid())?;
        let public = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&secret).verifying_key().as_bytes());
        // RFC 7638: the hash of the required members in their order. RFC 8037 says which those are.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint));
        // An earlier call has installed the same provider.
        let _ = PROVIDER.install_default();
        Ok(Self { encoding: EncodingKey::from_ed_der(&secret), public, id })
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("id", &self.id).finish_non_exhaustive()
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match (algorithm, key.as_bytes().try_into()) {
        (Algorithm::EdDSA, Ok(secret)) => Ok(Box::new(Ed25519Signer(SigningKey::from_bytes(secret)))),
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    },
    verifier_factory: |algorithm, key: &DecodingKey| {
        let public =
            key.try_get_as_bytes()?.try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
        match (algorithm, public) {
            (Algorithm::EdDSA, Some(public)) => Ok(Box::new(Ed25519Verifier(public))),
            _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
        }
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Ed25519Signer(SigningKey);

impl signature::Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(VerifyingKey);

impl signature::Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature = Signature::from_slice(signature).map_err(|_| signature::Error::new())?;
        self.0.verify(message, &signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the thumbprint of RFC 8037, appendix A.
    const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

    #[test]
    fn the_key_set_is_that_of_the_standard_s_example() {
        let key: AssertionKey = SECRET.parse().unwrap();
        let set = key.key_set();
        assert_eq!(set["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(set["keys"][0]["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// The signature of RFC 8037, appendix A.4.
    #[test]
    fn the_signature_is_that_of_the_standard_s_example() {
        let key: AssertionKey = SECRET.parse().unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signed = jsonwebtoken::crypto::sign(message, &key.encoding, Algorithm::EdDSA).unwrap();
        assert_eq!(
            signed,
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
        let public = DecodingKey::from_ed_der(&URL_SAFE_NO_PAD.decode(&key.public).unwrap());
        let check =
            |message: &[u8]| jsonwebtoken::crypto::verify(&signed, message, &public, Algorithm::EdDSA);
        assert!(check(message).unwrap() && !check(b"other").unwrap());
    }

    #[test]
    fn its_secret_is_not_shown() {
        let key: AssertionKey = SECRET.parse().unwrap();
        assert!(!format!("{key:?}").contains("nWGx"));
        assert!("short".parse::<AssertionKey>().unwrap_err().to_string().contains("32 bytes"));
    }
}
