//! Source of randomness. Tests use a seeded one.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

/// A shared, cryptographically strong source of random bytes.
#[derive(Clone)]
pub struct RandomSource(Arc<Mutex<StdRng>>);

impl RandomSource {
    /// Returns a source seeded by the operating system.
    ///
    /// # Panics
    /// The operating system gives no entropy.
    #[must_use]
    pub fn from_os() -> Self {
        let rng = StdRng::try_from_rng(&mut SysRng).expect("the operating system gives entropy");
        Self(Arc::new(Mutex::new(rng)))
    }

    /// Returns a source that gives the same bytes on every run, for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// Returns a uniformly distributed number in `0.0..1.0`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        let whole = u32::from_le_bytes(self.bytes());
        f64::from(whole) / (f64::from(u32::MAX) + 1.0)
    }
}

impl std::fmt::Debug for RandomSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RandomSource(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::RandomSource;

    #[test]
    fn a_seed_decides_the_bytes() {
        assert_eq!(RandomSource::seeded(7).bytes::<16>(), RandomSource::seeded(7).bytes::<16>());
        assert_ne!(RandomSource::seeded(7).bytes::<16>(), RandomSource::seeded(8).bytes::<16>());
    }

    #[test]
    fn fractions_stay_below_one() {
        let rng = RandomSource::seeded(1);
        assert!((0..10_000).map(|_| rng.fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
