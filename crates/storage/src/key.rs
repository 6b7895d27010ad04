//! Object keys.

use std::fmt;
use std::str::FromStr;

/// The text is not an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an object key")]
pub struct InvalidKey(String);

/// The name of an object: parts of `[a-zA-Z0-9._-]` joined by `/`, no part `.` or `..`.
///
/// Narrow enough to be a file name, an S3 key and a URL path at once: a part has at most 255 bytes
/// and the whole at most 900. The first part is never `tmp`, where a folder keeps what is unfinished.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// Fails if the text could mean different things to different stores.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sound = text.len() <= 900
            && text.split('/').next() != Some("tmp")
            && text.split('/').all(|part| {
                (1..=255).contains(&part.len())
                    && part != "."
                    && part != ".."
                    && part.bytes().all(allowed)
            });
        if sound {
            Ok(Self(text))
        } else {
            Err(InvalidKey(text))
        }
    }

    /// Tells whether `text` can be the prefix of a listing: empty, or a key and a `/`.
    pub fn is_prefix(text: &str) -> bool {
        let folder = text.strip_suffix('/');
        text.is_empty() || folder.is_some_and(|folder| Self::new(folder).is_ok())
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part after the last `/`.
    pub fn file_name(&self) -> &str {
        self.0
            .rsplit('/')
            .next()
            .expect("split yields at least one part")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_store_are_refused() {
        let long_part = "x".repeat(256);
        let long_whole = ["x"; 451].join("/");
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "a b",
            "a\\b",
            "ä",
            "tmp",
            "tmp/a",
            &long_part,
            &long_whole,
        ] {
            assert!(ObjectKey::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(ObjectKey::new("packs/aa/ff.1").unwrap().file_name(), "ff.1");
        assert!(ObjectKey::new("a/tmp").is_ok());
    }

    #[test]
    fn a_prefix_ends_with_its_slash() {
        for good in ["", "packs/", "a/b/"] {
            assert!(ObjectKey::is_prefix(good), "{good:?} was refused");
        }
        for bad in ["packs", "/", "a//", "../", "tmp/"] {
            assert!(!ObjectKey::is_prefix(bad), "{bad:?} was accepted");
        }
    }
}
