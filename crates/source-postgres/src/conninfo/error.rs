//! What can be wrong with a connection string, never with a password in the message.

use std::path::PathBuf;

use lifeboat_model::{Diagnose, ErrorKind};

/// A connection string, or what it refers to, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConninfoError {
    /// The text has no form that libpq knows. It may hold a password, so it is not repeated.
    #[error("the connection string {why}")]
    Syntax {
        /// What is wrong, as the rest of a sentence.
        why: String,
    },
    /// No such parameter.
    #[error("the connection parameter `{name}` is unknown")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A parameter that cannot be honoured, and must not be ignored.
    #[error("the connection parameter `{name}` is not supported{why}")]
    Unsupported {
        /// Its name.
        name: String,
        /// Which value, as the rest of a sentence; empty for all.
        why: String,
    },
    /// The value is none that the parameter can have.
    #[error("`{value}` is no value of the connection parameter `{name}`")]
    Value {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
    /// Lists of hosts, addresses and ports do not fit each other.
    #[error("{hosts} hosts are named, but {others} values of `{name}`")]
    Count {
        /// How many hosts.
        hosts: usize,
        /// How many others.
        others: usize,
        /// The other list.
        name: &'static str,
    },
    /// No service file has the service.
    #[error("no service `{service}` is defined in `{}`", .path.display())]
    NoService {
        /// The service.
        service: String,
        /// The last file looked into.
        path: PathBuf,
    },
    /// A line of a service file cannot be read.
    #[error("line {line} of the service file `{}` {why}", .path.display())]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, as the rest of a sentence.
        why: &'static str,
    },
    /// A file could not be read.
    #[error("failed to read the {what} `{}`", .path.display())]
    Io {
        /// Which file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Nobody says who asks.
    #[error("the connection has no user")]
    NoUser,
}

impl Diagnose for ConninfoError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            _ => ErrorKind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Syntax { .. } => {
                "write `postgresql://user@host/database` or `host=… user=… dbname=…`; in a URL, \
                 encode special characters of a password, such as `%40` for `@`"
            }
            Self::Unknown { .. } => "check its spelling; libpq's names are the ones known",
            Self::Unsupported { .. } => "leave it out",
            Self::Value { takes, .. } => return Some(format!("it takes {takes}")),
            Self::Count { name, .. } => {
                return Some(format!("give one `{name}` for all hosts, or one for each"));
            }
            Self::NoService { .. } => "add it, or set PGSERVICEFILE to the file that has it",
            Self::ServiceFile { .. } => "a service is `[name]`, then lines `key=value`",
            Self::Io { .. } => "check the path and who may read it",
            Self::NoUser => "add `user=…`, or set PGUSER",
        };
        Some(hint.to_owned())
    }
}
