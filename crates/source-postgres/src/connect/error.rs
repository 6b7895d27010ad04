//! Why no connection came about.

use std::path::PathBuf;
use std::time::Duration;

use lifeboat_model::{Diagnose, ErrorKind};
use postgres_protocol::message::backend::ErrorFields;

use crate::conninfo::{Conninfo, Host};

/// What a server answers when it refuses.
///
/// DETAIL and CONTEXT are left out: they can hold values of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server says: {message} (SQLSTATE {code})")]
pub struct ServerError {
    /// Five letters that name the kind of error in every language.
    pub code: String,
    /// The server's words.
    pub message: String,
}

impl ServerError {
    pub(crate) fn read(mut fields: ErrorFields<'_>) -> Self {
        use postgres_protocol::message::backend::ErrorField;
        let (mut code, mut message) = (String::new(), String::new());
        let text =
            |field: &ErrorField<'_>| String::from_utf8_lossy(field.value_bytes()).into_owned();
        // A message that breaks off is shown as far as it goes.
        while let Ok(Some(field)) = fallible_iterator::FallibleIterator::next(&mut fields) {
            match field.type_() {
                b'C' => code = text(&field),
                b'M' => message = text(&field),
                _ => {}
            }
        }
        Self { code, message }
    }

    pub(crate) fn of_sql(error: &tokio_postgres::Error) -> Option<Self> {
        let answer = error.as_db_error()?;
        Some(Self {
            code: answer.code().code().to_owned(),
            message: answer.message().to_owned(),
        })
    }

    /// Reports whether the server is starting, stopping or crashing, which passes.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "57P01" | "57P02" | "57P03")
    }
}

/// No connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("no server answers at `{host}`")]
    NoServer {
        /// Where.
        host: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The server took too long.
    #[error("`{host}` did not answer within {} s", .limit.as_secs())]
    Timeout {
        /// Where.
        host: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The connection broke off.
    #[error("the connection to `{host}` broke off")]
    Broken {
        /// Where.
        host: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The server starts up, shuts down or recovers.
    #[error("the server at `{host}` takes no connections now")]
    NotNow {
        /// Where.
        host: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// All its connections are in use.
    #[error("the server at `{host}` has no connection left")]
    Full {
        /// Where.
        host: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// It wants a password, and none was given.
    #[error("`{host}` asks `{user}` for a password, and none is known")]
    NoPassword {
        /// Where.
        host: String,
        /// Who.
        user: String,
        /// A password file that others may read, and that was therefore left aside.
        ignored_passfile: Option<PathBuf>,
    },
    /// The password or the role is wrong.
    #[error("`{host}` does not accept `{user}`")]
    Login {
        /// Where.
        host: String,
        /// Who.
        user: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// `pg_hba.conf` has no line for it.
    #[error("`{host}` has no rule that lets `{user}` in from here")]
    NotAllowed {
        /// Where.
        host: String,
        /// Who.
        user: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// `pg_hba.conf` has no line for it as long as the connection is not encrypted.
    #[error("`{host}` has no rule that lets `{user}` in without encryption")]
    TlsRequired {
        /// Where.
        host: String,
        /// Who.
        user: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// The login is right, and the role may not do what the connection is for.
    #[error("`{user}` lacks the privilege to connect to `{host}`")]
    Privilege {
        /// Where.
        host: String,
        /// Who.
        user: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// The server has no encryption, and the connection wants it.
    #[error("the server at `{host}` offers no encryption")]
    TlsRefused {
        /// Where.
        host: String,
    },
    /// Encryption was not agreed on, or the certificate is not trusted.
    #[error("failed to encrypt the connection to `{host}`")]
    Tls {
        /// Where.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key of ours cannot be used.
    #[error("failed to use the {what} `{}`: {why}", .path.display())]
    Certificate {
        /// Which file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A certificate is to be checked, and there is nothing to check it against.
    #[error("no root certificate says which servers to trust")]
    NoRoots,
    /// No such database.
    #[error("`{host}` has no database `{dbname}`")]
    NoDatabase {
        /// Where.
        host: String,
        /// Which.
        dbname: String,
    },
    /// A way to log in that is not known here.
    #[error("`{host}` asks for a login by {method}, which is not supported")]
    Method {
        /// Where.
        host: String,
        /// Which way.
        method: &'static str,
    },
    /// The server is of the other kind.
    #[error("the server at `{host}` is not {wanted}")]
    WrongTarget {
        /// Where.
        host: String,
        /// Which kind `target_session_attrs` asks for.
        wanted: &'static str,
    },
    /// It refuses for another reason.
    #[error("`{host}` refuses the connection")]
    Refused {
        /// Where.
        host: String,
        /// Its answer.
        #[source]
        source: ServerError,
    },
    /// It does not speak the protocol.
    #[error("`{host}` does not answer as PostgreSQL does: {why}")]
    Protocol {
        /// Where.
        host: String,
        /// What is odd.
        why: String,
    },
}

impl ConnectError {
    /// Sorts what the server answered into the cases that people can act upon.
    pub(crate) fn of_server(
        host: &Host,
        conninfo: &Conninfo,
        encrypted: bool,
        source: ServerError,
    ) -> Self {
        let user = conninfo.user.clone();
        let has_password = host.password.is_some();
        let host = host.to_string();
        match source.code.as_str() {
            "28P01" if !has_password => Self::NoPassword {
                host,
                user,
                ignored_passfile: conninfo.ignored_passfile.clone(),
            },
            "28P01" => Self::Login { host, user, source },
            "42501" => Self::Privilege { host, user, source },
            "28000" if !encrypted && mentions_encryption(&source.message) => {
                Self::TlsRequired { host, user, source }
            }
            "28000" if source.message.contains("pg_hba.conf") => {
                Self::NotAllowed { host, user, source }
            }
            "28000" => Self::Login { host, user, source },
            "3D000" => Self::NoDatabase {
                host,
                dbname: conninfo.dbname.clone(),
            },
            "53300" => Self::Full { host, source },
            _ if source.is_passing() => Self::NotNow { host, source },
            _ => Self::Refused { host, source },
        }
    }

    pub(crate) fn of_session(
        host: &Host,
        conninfo: &Conninfo,
        encrypted: bool,
        error: tokio_postgres::Error,
    ) -> Self {
        if let Some(answer) = ServerError::of_sql(&error) {
            return Self::of_server(host, conninfo, encrypted, answer);
        }
        let host = host.to_string();
        let chain = lifeboat_model::error_chain(&error);
        match error.into_source().map(|source| source.downcast()) {
            Some(Ok(source)) => Self::Broken {
                host,
                source: *source,
            },
            _ => Self::Protocol { host, why: chain },
        }
    }

    /// Reports whether the server is simply not there, so that another host says more.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoServer { .. } | Self::Timeout { .. } | Self::WrongTarget { .. }
        )
    }

    /// Reports whether encryption, or the lack of it, may have been the reason.
    pub(crate) const fn may_depend_on_encryption(&self) -> bool {
        matches!(
            self,
            Self::NotAllowed { .. } | Self::TlsRequired { .. } | Self::Tls { .. }
        )
    }
}

/// The words are the same in 13 to 18; a translated server is told from others by its file's name
/// only, which leads to the more general error.
fn mentions_encryption(message: &str) -> bool {
    let no_rule = message.starts_with("no pg_hba.conf entry");
    no_rule && (message.contains("no encryption") || message.contains("SSL off"))
}

impl Diagnose for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoServer { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::NotNow { .. }
            | Self::Full { .. } => ErrorKind::Transient,
            Self::NoPassword { .. } | Self::Login { .. } | Self::NotAllowed { .. } => {
                ErrorKind::Denied
            }
            Self::TlsRequired { .. }
            | Self::TlsRefused { .. }
            | Self::Tls { .. }
            | Self::Privilege { .. } => ErrorKind::Denied,
            Self::Certificate { .. } | Self::NoRoots | Self::Method { .. } => ErrorKind::Usage,
            Self::NoDatabase { .. } => ErrorKind::NotFound,
            Self::WrongTarget { .. } | Self::Refused { .. } | Self::Protocol { .. } => {
                ErrorKind::Failed
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoServer { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "run as a user who may open the socket"
            }
            Self::NoServer { .. } => {
                "check that the server runs, and its `listen_addresses`, `port` and \
                 `unix_socket_directories`"
            }
            Self::Timeout { .. } => "check the network, or allow more with `connect_timeout`",
            Self::Broken { .. } => "the server's log says why it hung up",
            Self::NotNow { .. } => "try again when it has started",
            Self::Full { .. } => "raise `max_connections` or `max_wal_senders`, or end sessions",
            Self::NoPassword {
                ignored_passfile: Some(path),
                ..
            } => {
                return Some(format!(
                    "`{}` is left aside, since others may read it: `chmod 600` it",
                    path.display()
                ));
            }
            Self::NoPassword { .. } => "put it into `~/.pgpass`, or set PGPASSWORD",
            Self::Login { .. } => "check the role, its password and its right to log in",
            Self::NotAllowed { .. } => {
                "add a line to the server's `pg_hba.conf` and reload it; replication needs one for \
                 the database `replication`"
            }
            Self::Privilege { user, .. } => {
                return Some(format!(
                    "for replication: ALTER ROLE \"{user}\" REPLICATION; for a database: GRANT \
                     CONNECT ON DATABASE … TO \"{user}\""
                ));
            }
            Self::TlsRequired { .. } => {
                "set `sslmode=require`, or better `verify-full`; or add a line to `pg_hba.conf`"
            }
            Self::TlsRefused { .. } => "turn `ssl` on in the server, or set `sslmode=prefer`",
            Self::Tls { .. } => {
                "compare the host's name with the certificate's, and `sslrootcert` with who signed it"
            }
            Self::Certificate { .. } => "certificates and keys are read as PEM files",
            Self::NoRoots => "name them with `sslrootcert`; `system` takes those of the system",
            Self::NoDatabase { .. } => "list them with `psql -l`, and check the spelling",
            Self::Method { .. } => "use a role that logs in by password or certificate",
            Self::WrongTarget { .. } => {
                "name all servers as hosts, or change `target_session_attrs`"
            }
            Self::Refused { .. } => return None,
            Self::Protocol { .. } => "check the port: another program may listen there",
        };
        Some(hint.to_owned())
    }
}
