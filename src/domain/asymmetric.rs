//! Standard Webhooks' asymmetric signature, `v1a`: a receiver needs to know only the public half of the key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use secrecy::SecretString;

use super::{Chance, Invalid};

/// An ed25519 key. Its text is `whsk_` + the base64 of its 32 secret bytes, with or without the 32 public ones after
/// them. `Debug` and errors never show it.
#[derive(Clone)]
pub struct AsymmetricKey(SigningKey);

const SECRET: &str = "whsk_";
const PUBLIC: &str = "whpk_";

impl AsymmetricKey {
    /// A new one.
    #[must_use]
    pub fn generate(chance: &Chance) -> Self {
        Self(SigningKey::from_bytes(&chance.bytes()))
    }

    /// `v1a,` + the base64 of the ed25519 signature over `{id}.{timestamp}.{body}`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        format!("v1a,{}", STANDARD.encode(self.0.sign(&signed).to_bytes()))
    }

    /// What receivers check with: `whpk_` + the base64 of the public half.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{PUBLIC}{}", STANDARD.encode(self.0.verifying_key().to_bytes()))
    }

    /// Its text, for the store.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        format!("{SECRET}{}", STANDARD.encode(self.0.to_keypair_bytes())).into()
    }
}

impl FromStr for AsymmetricKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new("a signing key is `whsk_` and the base64 of the 32 or 64 bytes of an ed25519 key")
        };
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

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_signature_is_checked_with_the_public_half() {
        let key = AsymmetricKey::generate(&Chance::seeded(1));
        let public = STANDARD.decode(key.public().strip_prefix(PUBLIC).unwrap()).unwrap();
        let public = VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        let signed = key.sign("msg_1", 1, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        public.verify_strict(b"msg_1.1.{}", &signature).unwrap();
        assert!(public.verify_strict(b"msg_1.2.{}", &signature).is_err());
    }

    #[test]
    fn both_lengths_are_read_and_nothing_is_shown() {
        let key = AsymmetricKey::generate(&Chance::seeded(1));
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
