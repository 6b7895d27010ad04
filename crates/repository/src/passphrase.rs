//! Passphrases: a key secret that is computed from what a person remembers.
//!
//! Only here is a secret stretched. A store is not trusted, so what a key object asks for is bounded
//! before memory is taken; and a derivation that fails gives an error, never a key.

use argon2::{Algorithm, Argon2, Params, Version};
use lifeboat_runtime::{Entropy, SecretBytes};
use serde::{Deserialize, Serialize};

use crate::crypto::SymmetricKey;

/// Fewer characters than this are guessed too soon by who has a copy of the key object.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// What a key object may ask of the machine that opens it.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;

/// How a passphrase becomes a key secret: Argon2id, version 1.3, one lane, 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretching {
    /// Random, so that one passphrase gives another secret in each key object. Hex.
    #[serde(with = "hex::serde")]
    salt: [u8; 16],
    /// Memory that each guess costs, KiB.
    memory_kib: u32,
    /// Passes over it.
    passes: u32,
}

/// Why a passphrase gave no key; completes "its passphrase".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StretchError {
    #[error("asks for more work than any key that Lifeboat makes")]
    TooMuch,
    #[error("cannot be stretched as the key object asks")]
    Unsound,
    #[error("cannot be stretched: there is not enough memory")]
    NoMemory,
}

impl Stretching {
    /// Draws a salt and takes the costs of today: 64 MiB, 3 passes, about 0.1 s a guess.
    pub(crate) fn draw(entropy: &dyn Entropy) -> Self {
        Self {
            salt: entropy.bytes(),
            memory_kib: 64 << 10,
            passes: 3,
        }
    }

    /// Computes the secret. Takes as long as it is meant to: not for async code.
    pub(crate) fn derive(&self, passphrase: &SecretBytes) -> Result<SymmetricKey, StretchError> {
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return Err(StretchError::TooMuch);
        }
        let params = Params::new(self.memory_kib, self.passes, 1, Some(32))
            .map_err(|_| StretchError::Unsound)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = SymmetricKey([0; 32]);
        match argon.hash_password_into(passphrase.expose(), &self.salt, &mut key.0) {
            // What was not written to is no key, whatever the function says.
            Ok(()) if !key.is_zero() => Ok(key),
            Err(argon2::Error::OutOfMemory) => Err(StretchError::NoMemory),
            Ok(()) | Err(_) => Err(StretchError::Unsound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Stretching {
        Stretching {
            salt: *b"0123456789abcdef",
            memory_kib: 64,
            passes: 1,
        }
    }

    fn passphrase(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    #[test]
    fn one_passphrase_and_salt_give_one_secret() {
        let derive =
            |stretching: &Stretching, text: &str| stretching.derive(&passphrase(text)).unwrap().0;
        let secret = derive(&cheap(), "correct horse");
        assert_eq!(secret, derive(&cheap(), "correct horse"));
        assert_ne!(secret, derive(&cheap(), "correct horsf"));
        for other in [
            Stretching {
                salt: *b"0123456789abcdeg",
                ..cheap()
            },
            Stretching {
                memory_kib: 72,
                ..cheap()
            },
            Stretching {
                passes: 2,
                ..cheap()
            },
        ] {
            assert_ne!(secret, derive(&other, "correct horse"), "{other:?}");
        }
    }

    /// Computed with OpenSSL's Argon2id, of the same salt and costs.
    #[test]
    fn the_secret_is_what_other_programs_compute() {
        let secret = cheap().derive(&passphrase("correct horse")).unwrap();
        assert_eq!(hex::encode(secret.0), REFERENCE);
    }

    const REFERENCE: &str = "32364fd7ed54f4951b0d6bc3bed2f212c66235738a114c5f8ba3b6a1ee3abb10";

    #[test]
    fn a_failed_derivation_gives_no_key_and_takes_no_memory() {
        let fails = |memory_kib, passes| {
            let asks = Stretching {
                memory_kib,
                passes,
                ..cheap()
            };
            asks.derive(&passphrase("correct horse")).err()
        };
        assert_eq!(fails(u32::MAX, 1), Some(StretchError::TooMuch));
        assert_eq!(fails(64, u32::MAX), Some(StretchError::TooMuch));
        assert_eq!(fails(0, 1), Some(StretchError::Unsound));
        assert_eq!(fails(64, 0), Some(StretchError::Unsound));
    }
}
