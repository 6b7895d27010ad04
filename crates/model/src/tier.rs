//! Tiers, kinds and classes: the closed word lists of backup policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is none of the words that are allowed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}; one of: {allowed}")]
pub struct UnknownWord {
    text: String,
    what: &'static str,
    allowed: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word people write for this value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| UnknownWord {
                    text: text.to_owned(),
                    what: $what,
                    allowed: [$($word),+].join(", "),
                })
            }
        }
    };
}

words!(
    /// How often a backup recurs; retention counts each tier on its own.
    Tier, "tier" {
        /// Every hour.
        Hourly = "hourly",
        /// Every day.
        Daily = "daily",
        /// Every week.
        Weekly = "weekly",
        /// Every month.
        Monthly = "monthly",
        /// Asked for by a person or a pipeline, outside any schedule.
        OnDemand = "on-demand",
    }
);

words!(
    /// Whether a backup may build on its parent.
    BackupKind, "backup kind" {
        /// Reads everything and trusts nothing of earlier snapshots but chunks with the same id.
        Full = "full",
        /// Compares with the newest snapshot of the source and stores what changed.
        Incremental = "incremental",
    }
);

words!(
    /// What an environment is for; it decides which rules hold.
    EnvironmentClass, "environment class" {
        /// Serves customers, holds personal data.
        Production = "production",
        /// Rehearses releases on masked data.
        Staging = "staging",
        /// Where people build, on synthetic or masked data.
        Development = "development",
        /// Automated tests, reset at will.
        Test = "test",
        /// One branch's short-lived environment.
        Feature = "feature",
    }
);

words!(
    /// The kind of thing a source reads.
    SourceKind, "source kind" {
        /// A folder: configuration or code.
        Files = "files",
        /// One SQLite database file.
        Sqlite = "sqlite",
        /// A PostgreSQL cluster: all databases of one server.
        Postgres = "postgres",
        /// A copy of one PostgreSQL database, table by table, as a refresh makes it.
        PostgresDump = "postgres-dump",
    }
);

impl Tier {
    /// Returns the kind a backup of this tier has unless somebody asks otherwise.
    ///
    /// Hourly backups are incremental; every longer tier reads everything again, so that an error
    /// in change detection lives for a day at most.
    pub const fn default_kind(self) -> BackupKind {
        match self {
            Self::Hourly => BackupKind::Incremental,
            Self::Daily | Self::Weekly | Self::Monthly | Self::OnDemand => BackupKind::Full,
        }
    }
}

impl EnvironmentClass {
    /// Reports whether raw personal data may live in environments of this class.
    pub const fn holds_personal_data(self) -> bool {
        matches!(self, Self::Production)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_names_the_allowed_ones() {
        let error = "daly".parse::<Tier>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`daly` is no tier; one of: hourly, daily, weekly, monthly, on-demand"
        );
    }
}
