//! Ids: fixed-size byte strings that print as lower-case hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not the hex form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected} hex digits")]
pub struct InvalidId {
    text: String,
    expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length of the id in bytes; its text form has twice as many characters.
            pub const LEN: usize = $bytes;

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Returns the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Returns the first eight hex digits, enough for people to tell ids apart.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; $bytes];
                let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) if lower => Ok(Self(bytes)),
                    _ => Err(InvalidId { text: text.to_owned(), expected: $bytes * 2 }),
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
    };
}

id!(
    /// Keyed BLAKE3 of a chunk's plaintext under the repository's id key.
    ChunkId, 32
);
id!(
    /// BLAKE3 of a pack object's stored bytes.
    PackId, 32
);
id!(
    /// BLAKE3 of an index object's stored bytes.
    IndexId, 32
);
id!(
    /// BLAKE3 of a commit record's stored bytes.
    SnapshotId, 32
);
id!(
    /// BLAKE3 of a WAL object's stored bytes.
    WalHash, 32
);
id!(
    /// The first half of the keyed BLAKE3 of a WAL object's plaintext under the repository's id key.
    WalContentId, 16
);
id!(
    /// Random, chosen when a repository is created; the same in every region.
    RepositoryId, 16
);
id!(
    /// Random, names one key object.
    KeyId, 8
);
id!(
    /// Random, names one run in the ledger.
    RunId, 8
);
id!(
    /// Random, names one session that works on a repository.
    SessionId, 8
);
id!(
    /// Random, names one list of objects that are about to be deleted.
    TombstoneId, 8
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = KeyId::from_bytes([0, 1, 2, 3, 250, 251, 252, 253]);
        assert_eq!(id.to_string(), "00010203fafbfcfd");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn upper_case_and_short_text_are_refused() {
        // One id has one text form, or object names could collide on some file systems.
        assert!("00010203FAFBFCFD".parse::<KeyId>().is_err());
        assert!("0001".parse::<KeyId>().is_err());
    }
}
