//! The outcome of a check or gate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a check found. A check that could not run is never a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The check ran and found what it demands.
    Pass,
    /// The check ran and found otherwise.
    Fail,
    /// The check did not run, or could not decide.
    NotVerified,
}

impl Verdict {
    /// Returns the verdict over a whole: one failure fails it, one gap leaves it unverified.
    ///
    /// An empty set of checks proves nothing and is `NotVerified`.
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        let mut seen = None;
        for verdict in verdicts {
            seen = Some(match (seen, verdict) {
                (Some(Verdict::Fail), _) | (_, Verdict::Fail) => Verdict::Fail,
                (Some(Verdict::NotVerified), _) | (_, Verdict::NotVerified) => Verdict::NotVerified,
                _ => Verdict::Pass,
            });
        }
        seen.unwrap_or(Verdict::NotVerified)
    }

    /// Returns `Pass` if `passed`, else `Fail`.
    pub const fn from_passed(passed: bool) -> Verdict {
        if passed { Verdict::Pass } else { Verdict::Fail }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NotVerified => "not verified",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checks_at_all_is_not_a_pass() {
        assert_eq!(Verdict::all([]), Verdict::NotVerified);
        assert_eq!(
            Verdict::all([Verdict::Pass, Verdict::NotVerified]),
            Verdict::NotVerified
        );
        assert_eq!(
            Verdict::all([Verdict::NotVerified, Verdict::Fail]),
            Verdict::Fail
        );
        assert_eq!(Verdict::all([Verdict::Pass, Verdict::Pass]), Verdict::Pass);
    }
}
