//! Standard Webhooks' asymmetric signature, `v1a`: a receiver needs to know only the public half of the key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use secrecy::SecretString;

use super::{Invalid, RandomSource};

/// An ed25519 key. Its text is `whsk_` + the base64 of its 32 secret bytes, with or without the 32 public ones after
/// them. `Debug` and errors never show it.
#[derive(Clone)]
pub struct AsymmetricKey(SigningKey);

const SECRET: &str = "whsk_";
const PUBLIC: &str = "whpk_";

impl AsymmetricKey {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = "`whsk_` and the base64 of the 32 or 64 bytes of an ed25519 key";

    /// A new one.
    #[must_use]
    pub fn generate(rng: &RandomSource) -> Self {
        Self(SigningKey::from_bytes(&rng.bytes()))
    }

    /// `v1a,` + the base64 of the ed25519 signature over `{id}.{timestamp}.{body}`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1a,{}", STANDARD.encode(self.0.sign(&signed_bytes(id, timestamp, body)).to_bytes()))
    }

    /// Public half, for receivers.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Returns the text of the key, for the store.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        format!("{SECRET}{}", STANDARD.encode(self.0.to_keypair_bytes())).into()
    }
}

impl FromStr for AsymmetricKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(format_args!("a signing key is {}", Self::ALLOWED));
        let encoded = text.strip_prefix(SECRET).ok_or_else(invalid)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| invalid())?;
        if let Ok(pair) = <[u8; 64]>::try_from(&bytes[..]) {
            return SigningKey::from_keypair_bytes(&pair).map(Self).map_err(|_| invalid());
        }
        let secret = <[u8; 32]>::try_from(bytes).map_err(|_| invalid())?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }
}

impl fmt::Debug for AsymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsk_***")
    }
}

/// Public half of an [`AsymmetricKey`]: `whpk_` + the base64 of its 32 bytes. Not a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Returns whether the bytes are a signature by the other half.
    #[must_use]
    pub fn fits(&self, id: &str, timestamp: i64, body: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| {
            self.0.verify_strict(&signed_bytes(id, timestamp, body), &signature).is_ok()
        })
    }
}

impl FromStr for PublicKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid =
            || Invalid::new("a public key is `whpk_` and the base64 of the 32 bytes of an ed25519 key");
        let encoded = text.strip_prefix(PUBLIC).ok_or_else(invalid)?;
        let bytes = STANDARD.decode(encoded).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        VerifyingKey::from_bytes(&bytes.ok_or_else(invalid)?).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0.to_bytes()))
    }
}

fn signed_bytes(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    signed
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_signature_is_checked_with_the_public_half() {
        let key = AsymmetricKey::generate(&RandomSource::seeded(1));
        let public: PublicKey = key.public().to_string().parse().unwrap();
        assert_eq!(public, key.public());
        let signed = key.sign("msg_1", 1, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
        assert!(public.fits("msg_1", 1, b"{}", &signature));
        assert!(!public.fits("msg_1", 2, b"{}", &signature));
        assert!(!public.fits("msg_1", 1, b"{}", &signature[1..]));
        assert!(
            !AsymmetricKey::generate(&RandomSource::seeded(2)).public().fits("msg_1", 1, b"{}", &signature)
        );
    }

    #[rstest::rstest]
    fn what_is_no_public_key(
        #[values("", "whpk_", "whpk_AAAA", "whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "whpk_!")]
        text: &str,
    ) {
        assert!(text.parse::<PublicKey>().is_err());
    }

    #[test]
    fn both_lengths_are_read_and_nothing_is_shown() {
        let key = AsymmetricKey::generate(&RandomSource::seeded(1));
        let whole = key.reveal();
        let bytes = STANDARD.decode(whole.expose_secret().strip_prefix(SECRET).unwrap()).unwrap();
        let short = format!("{SECRET}{}", STANDARD.encode(&bytes[..32]));
        for text in [whole.expose_secret(), &short] {
            assert_eq!(text.parse::<AsymmetricKey>().unwrap().public(), key.public());
        }
        assert_eq!(format!("{key:?}"), "whsk_***");
        for bad in ["", "whsk_", "whsk_AAAA", "whsec_AAAA", &format!("{SECRET}{}", STANDARD.encode([7; 64]))]
        {
            assert!(bad.parse::<AsymmetricKey>().is_err(), "{bad}");
        }
    }
}
