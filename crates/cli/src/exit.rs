//! Exit codes: stable, documented in the README, and decided here alone.

use std::process::ExitCode;

use lifeboat_model::{ErrorKind, Verdict};
use lifeboat_schedule::JobEnd;

/// An exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// Done.
    pub(crate) const DONE: Exit = Exit(0);
    /// Could not be done.
    pub(crate) const FAILED: Exit = Exit(1);
    /// The command line or a file that people write is wrong. clap uses the same.
    pub(crate) const USAGE: Exit = Exit(2);
    /// Done, but some items failed.
    pub(crate) const INCOMPLETE: Exit = Exit(3);
    /// Stored or restored data is not what it must be, or data to mask is not in its format.
    pub(crate) const INTEGRITY: Exit = Exit(4);
    /// RTO or RPO was missed.
    pub(crate) const OBJECTIVE_MISSED: Exit = Exit(5);
    /// A check could not be carried out, so nothing is proven.
    pub(crate) const NOT_VERIFIED: Exit = Exit(6);
    /// A rule forbids it: residency, environment class, coverage, leak gate.
    pub(crate) const REFUSED: Exit = Exit(7);
    /// There is no repository where one should be.
    pub(crate) const NO_REPOSITORY: Exit = Exit(10);
    /// Somebody else holds what is needed.
    pub(crate) const BUSY: Exit = Exit(11);
    /// The key is missing, malformed, too weak, or another repository's.
    pub(crate) const WRONG_KEY: Exit = Exit(12);
    /// Nothing was done because something due is running already, or a blackout holds it.
    pub(crate) const SKIPPED: Exit = Exit(75);
    /// Of `wal fetch`: there is no such file, and the log ends before it.
    pub(crate) const NO_SUCH_WAL: Exit = Exit(1);
    /// Of `wal fetch`: anything else that went wrong. PostgreSQL takes codes up to 125 for "no such
    /// file", ends the recovery and opens the database; it must stop instead.
    pub(crate) const STOP_RECOVERY: Exit = Exit(255);
    /// Stopped by Ctrl-C, or by SIGTERM as service managers send it.
    pub(crate) const INTERRUPTED: Exit = Exit(130);

    /// Returns the number.
    pub(crate) fn code(self) -> i32 {
        i32::from(self.0)
    }

    /// Returns the code for a kind of failure.
    pub(crate) const fn of_kind(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::Failed
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Denied
            | ErrorKind::Transient
            | ErrorKind::NoSpace => Exit::FAILED,
            ErrorKind::Usage => Exit::USAGE,
            ErrorKind::Corrupt => Exit::INTEGRITY,
            ErrorKind::NoRepository => Exit::NO_REPOSITORY,
            ErrorKind::WrongKey => Exit::WRONG_KEY,
            ErrorKind::Busy => Exit::BUSY,
            ErrorKind::Refused => Exit::REFUSED,
            ErrorKind::NotVerified => Exit::NOT_VERIFIED,
            ErrorKind::Interrupted => Exit::INTERRUPTED,
        }
    }

    /// Returns the code for a verdict, where `failed` is what a failure means.
    pub(crate) const fn of_verdict(verdict: Verdict, failed: Exit) -> Exit {
        match verdict {
            Verdict::Pass => Exit::DONE,
            Verdict::Fail => failed,
            Verdict::NotVerified => Exit::NOT_VERIFIED,
        }
    }

    /// Returns the code for what came of a job.
    pub(crate) const fn of_job(end: JobEnd) -> Exit {
        match end {
            JobEnd::Done | JobEnd::Served => Exit::DONE,
            JobEnd::Incomplete => Exit::INCOMPLETE,
            JobEnd::NotVerified => Exit::NOT_VERIFIED,
            JobEnd::ObjectiveMissed => Exit::OBJECTIVE_MISSED,
            JobEnd::Damaged => Exit::INTEGRITY,
            JobEnd::Refused => Exit::REFUSED,
            JobEnd::Failed(kind) => Exit::of_kind(kind),
            JobEnd::Overran => Exit::FAILED,
            JobEnd::Overlaps | JobEnd::Blackout => Exit::SKIPPED,
        }
    }

    /// Returns the code for several pieces of work: that of the one that came off worst.
    ///
    /// A plain failure among others that were done is "some items failed". Something left out counts
    /// only if nothing was done.
    pub(crate) fn worst_of(exits: &[Exit]) -> Exit {
        const BY_WEIGHT: [Exit; 10] = [
            Exit::INTEGRITY,
            Exit::REFUSED,
            Exit::WRONG_KEY,
            Exit::NO_REPOSITORY,
            Exit::USAGE,
            Exit::FAILED,
            Exit::BUSY,
            Exit::OBJECTIVE_MISSED,
            Exit::NOT_VERIFIED,
            Exit::INCOMPLETE,
        ];
        let done = exits.contains(&Exit::DONE);
        let worst = BY_WEIGHT.into_iter().find(|exit| exits.contains(exit));
        match worst {
            Some(Exit::FAILED) if done || exits.contains(&Exit::INCOMPLETE) => Exit::INCOMPLETE,
            Some(worst) => worst,
            None if !done && exits.contains(&Exit::SKIPPED) => Exit::SKIPPED,
            None => Exit::DONE,
        }
    }

    /// Returns "refused" in place of "not verified": a leak gate that could not decide keeps the copy
    /// back as one that failed does.
    pub(crate) fn refuse_unverified(self) -> Exit {
        if self == Exit::NOT_VERIFIED {
            Exit::REFUSED
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_jobs_the_worst_decides() {
        let worst = |exits: &[Exit]| Exit::worst_of(exits).code();
        assert_eq!(worst(&[]), 0);
        assert_eq!(worst(&[Exit::DONE, Exit::DONE]), 0);
        assert_eq!(worst(&[Exit::SKIPPED]), 75);
        assert_eq!(worst(&[Exit::SKIPPED, Exit::DONE]), 0);
        assert_eq!(worst(&[Exit::FAILED, Exit::SKIPPED]), 1);
        assert_eq!(worst(&[Exit::FAILED, Exit::DONE]), 3);
        assert_eq!(worst(&[Exit::FAILED, Exit::INTEGRITY, Exit::DONE]), 4);
        assert_eq!(worst(&[Exit::OBJECTIVE_MISSED, Exit::DONE]), 5);
    }
}
