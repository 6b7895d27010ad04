//! What every error of Lifeboat can be asked: which kind it is, and what to do next.

/// The kind of a failure: it decides the exit code and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing more special: the command could not do its work.
    Failed,
    /// The command line or a file people write is wrong.
    Usage,
    /// The thing asked for does not exist.
    NotFound,
    /// It exists already and must not be overwritten.
    AlreadyExists,
    /// The system or the store refused access.
    Denied,
    /// A passing fault: the same call may succeed later.
    Transient,
    /// No space is left where something had to be written.
    NoSpace,
    /// Stored bytes are not what they must be.
    Corrupt,
    /// The place named holds no repository.
    NoRepository,
    /// The key does not open this repository, or not this part of it.
    WrongKey,
    /// Somebody else holds what is needed.
    Busy,
    /// A rule forbids it: residency, environment class, coverage, leak gate.
    Refused,
    /// A check could not be carried out, so nothing is proven.
    NotVerified,
    /// The user or the system asked to stop.
    Interrupted,
}

impl ErrorKind {
    /// Returns the kind's name, as JSON documents have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Failed => "failed",
            ErrorKind::Usage => "usage",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Denied => "denied",
            ErrorKind::Transient => "transient",
            ErrorKind::NoSpace => "no_space",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::NoRepository => "no_repository",
            ErrorKind::WrongKey => "wrong_key",
            ErrorKind::Busy => "busy",
            ErrorKind::Refused => "refused",
            ErrorKind::NotVerified => "not_verified",
            ErrorKind::Interrupted => "interrupted",
        }
    }

    /// Returns the kind of an operating system error.
    pub fn of_io(error: &std::io::Error) -> ErrorKind {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::NoSpace,
            Io::Interrupted | Io::TimedOut | Io::WouldBlock => ErrorKind::Transient,
            _ => ErrorKind::Failed,
        }
    }
}

/// An error that knows its kind and the next step.
pub trait Diagnose: std::error::Error {
    /// Returns the kind of this failure.
    fn kind(&self) -> ErrorKind;

    /// Returns the next step for the person who reads the message, if there is one.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns the problems in files that people write, if that is what failed.
    fn problems(&self) -> Option<&crate::Problems> {
        None
    }
}

/// Writes an error with all its causes on one line. A cause that only repeats what was said, as
/// transparent wrappers do, is left out.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
