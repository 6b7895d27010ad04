//! Randomness for ids and keys.

use std::sync::Mutex;

use rand::{Rng as _, SeedableRng as _, TryRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// Returns `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's generator, fit for keys.
#[derive(Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness no key and no id can be made; going on with a constant would be worse
        // than stopping, so this is the one panic on data from outside.
        rand::rngs::SysRng
            .try_fill_bytes(bytes)
            .expect("the operating system has a random generator");
        assert!(
            bytes.len() < 16 || bytes.iter().any(|byte| *byte != 0),
            "the generator gave zeros"
        );
    }
}

/// A reproducible generator for tests and simulations. Never for keys that protect anything.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Xoshiro256PlusPlus>);

impl SeededEntropy {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no holder panics").fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let entropy: &dyn Entropy = &SeededEntropy::new(seed);
            [entropy.bytes::<8>(), entropy.bytes::<8>()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[0], draw(1)[1]);
    }
}
