//! Buckets: their addresses, and the locks on what they hold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text does not name a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not name a bucket: {why}")]
pub struct InvalidBucketUrl {
    text: String,
    why: &'static str,
}

/// Where a repository lies in an object store: `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BucketUrl {
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
}

impl BucketUrl {
    /// What the text of every such address starts with.
    pub const SCHEME: &'static str = "s3://";

    /// Returns the bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns what all keys start with: nothing, or some text that ends with `/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Tells whether one of the two holds keys of the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let nested = |a: &Self, b: &Self| a.prefix.starts_with(&b.prefix);
        self.bucket == other.bucket && (nested(self, other) || nested(other, self))
    }
}

impl FromStr for BucketUrl {
    type Err = InvalidBucketUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBucketUrl> {
        let wrong = |why| InvalidBucketUrl {
            text: text.to_owned(),
            why,
        };
        let rest = text.strip_prefix(Self::SCHEME);
        let rest = rest.ok_or_else(|| wrong("write `s3://BUCKET` or `s3://BUCKET/PREFIX`"))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
        };
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
            return Err(wrong("its name has 3 to 63 of a-z, 0-9, `-` and `.`"));
        }
        let path = path.trim_end_matches('/');
        let sound = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
        };
        if !path.is_empty() && (path.len() > 100 || !path.split('/').all(sound)) {
            return Err(wrong(
                "its prefix has parts of a-z, A-Z, 0-9, `.`, `_` and `-`, 100 bytes at most",
            ));
        }
        let prefix = match path {
            "" => String::new(),
            path => format!("{path}/"),
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix,
        })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.prefix.trim_end_matches('/');
        match path {
            "" => write!(f, "{}{}", Self::SCHEME, self.bucket),
            path => write!(f, "{}{}/{path}", Self::SCHEME, self.bucket),
        }
    }
}

impl From<BucketUrl> for String {
    fn from(url: BucketUrl) -> String {
        url.to_string()
    }
}

impl TryFrom<String> for BucketUrl {
    type Error = InvalidBucketUrl;

    fn try_from(text: String) -> Result<Self, InvalidBucketUrl> {
        text.parse()
    }
}

/// How hard an object lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a right of its own may lift it.
    Governance,
    /// Nobody may lift it before its time, the owner included.
    Compliance,
}

impl LockMode {
    /// Both, as configuration writes them.
    pub const ALL: [LockMode; 2] = [LockMode::Governance, LockMode::Compliance];

    /// Returns the mode as configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

impl FromStr for LockMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| {
            format!("`{text}` is not a lock mode: write `governance` or `compliance`")
        })
    }
}

/// What a lock promises: nobody deletes or replaces a version for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockTerms {
    /// How hard it is.
    pub mode: LockMode,
    /// How long from when it is put or extended, days.
    pub days: u32,
    /// Whether a legal hold is put as well, which ends only when somebody lifts it.
    pub legal_hold: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_place_are_equal() {
        let one: BucketUrl = "s3://backups/shop/".parse().unwrap();
        let other: BucketUrl = "s3://backups/shop".parse().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.prefix(), "shop/");
        assert_eq!(one.to_string(), "s3://backups/shop");
        assert_eq!("s3://backups".parse::<BucketUrl>().unwrap().prefix(), "");
    }

    #[test]
    fn places_inside_each_other_overlap_and_neighbours_do_not() {
        let url = |text: &str| text.parse::<BucketUrl>().unwrap();
        assert!(url("s3://backups").overlaps(&url("s3://backups/a")));
        assert!(url("s3://backups/a/b").overlaps(&url("s3://backups/a")));
        assert!(!url("s3://backups/ab").overlaps(&url("s3://backups/a")));
        assert!(!url("s3://backups/a").overlaps(&url("s3://others/a")));
    }

    #[test]
    fn what_could_mean_another_place_is_refused() {
        for bad in [
            "backups",
            "s3://",
            "s3://ab",
            "s3://Backups",
            "s3://back_ups",
            "s3://backups/../x",
            "s3://backups//x",
            "s3://backups/a b",
            "s3://key:secret@backups",
        ] {
            assert!(bad.parse::<BucketUrl>().is_err(), "{bad:?} was accepted");
        }
    }
}
