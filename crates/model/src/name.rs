//! Names that people choose: environments, sources, regions, locations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a valid {what} name: use 1 to 63 of a-z, 0-9, `-` and `_`, starting with a letter or digit"
)]
pub struct InvalidName {
    text: String,
    what: &'static str,
}

/// Names become parts of object keys and file names, so they are narrow on purpose.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&text.len())
        && allowed(text.as_bytes()[0])
        && text
            .bytes()
            .all(|byte| allowed(byte) || byte == b'-' || byte == b'_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { text: text.to_owned(), what: $what })
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
    };
}

name!(
    /// An environment: `prod`, `staging`, `dev`.
    EnvironmentName, "environment"
);
name!(
    /// One thing that is backed up: a database or a folder.
    SourceName, "source"
);
name!(
    /// A region: one store that holds a whole repository.
    RegionName, "region"
);
name!(
    /// The jurisdiction a region lies in, compared by residency rules: `eu`, `us`, `ch`.
    Location, "location"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_path_are_refused() {
        for bad in ["", ".", "..", "a/b", "A", "-a", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad:?} was accepted");
        }
        assert!("shop-db_2".parse::<SourceName>().is_ok());
    }
}
