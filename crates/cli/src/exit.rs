//! Exit codes: stable, documented in the README, and decided here alone.

use std::process::ExitCode;

use lifeboat_model::{ErrorKind, Verdict};

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
    /// Stored or restored data is not what it must be.
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
