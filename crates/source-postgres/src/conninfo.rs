//! Where a server is and who asks: libpq's connection strings, as people write them for `psql`.
//!
//! Settings come from the string, then the service file, then `PG*` variables, then defaults; the
//! password may come from a password file. No error and no printed form shows a password.

mod error;
mod files;
mod settings;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

pub use error::ConninfoError;

/// A password: wiped on drop, printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes over `text`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Shows the password. Each call is a place where it could escape: keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socket in this folder.
    Socket(PathBuf),
    /// A name or address of a machine; `address` saves looking the name up.
    Network {
        /// The name, which a certificate must be for.
        name: String,
        /// Where the name is.
        address: Option<IpAddr>,
    },
}

/// One server that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How it is reached.
    pub place: Place,
    /// Its port, which also names the socket.
    pub port: u16,
    /// The password for it.
    pub password: Option<Password>,
}

impl Host {
    /// Returns the socket's file, if it is reached by one.
    pub fn socket(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Socket(folder) => Some(folder.join(format!(".s.PGSQL.{}", self.port))),
            Place::Network { .. } => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.place {
            Place::Socket(folder) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
            Place::Network { name, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Place::Network { name, .. } => write!(f, "{name}:{port}"),
        }
    }
}

/// Whether the connection is encrypted, and whose word is taken for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server insists.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted or not at all; a certificate is checked only if there is a root certificate.
    Require,
    /// A root certificate vouches for the server.
    VerifyCa,
    /// And the certificate is for this host name.
    VerifyFull,
}

/// Certificates that the server's is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCertificates {
    /// Those in a file.
    File(PathBuf),
    /// Those that the system trusts.
    System,
}

/// How encryption is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssl {
    /// Whether, and whom to trust.
    pub mode: SslMode,
    /// Who vouches for the server.
    pub roots: Option<RootCertificates>,
    /// Certificate and key by which the client proves who it is.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether encryption starts without asking the server, as version 17 allows.
    pub direct: bool,
    /// Whether the password exchange must be bound to the encrypted connection.
    pub binding: ChannelBinding,
}

/// Whether the password exchange is bound to the encrypted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides can.
    Prefer,
    /// Or no connection.
    Require,
}

/// Which servers of several will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionTarget {
    /// The first that answers.
    Any,
    /// One that is not in recovery.
    Primary,
    /// One in recovery.
    Standby,
}

/// What is needed to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conninfo {
    /// The servers, tried in this order; at least one.
    pub hosts: Vec<Host>,
    /// Who asks.
    pub user: String,
    /// Which database.
    pub dbname: String,
    /// Encryption.
    pub ssl: Ssl,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// How long one host may take to answer.
    pub connect_timeout: Duration,
    /// Settings for the session, as `-c name=value`.
    pub options: Option<String>,
    /// Which of the hosts will do.
    pub target: SessionTarget,
    /// A password file that was left aside because others may read it.
    pub ignored_passfile: Option<PathBuf>,
    /// Every setting as text but the password, for other programs.
    settings: BTreeMap<String, String>,
}

/// What the process knows of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

impl Surroundings<'static> {
    /// Surroundings without any variable.
    pub const NONE: Self = Self {
        variable: &|_| None,
    };
}

impl Conninfo {
    /// Reads a connection string: a `postgresql://` URL or `key=value` pairs. An empty one takes
    /// everything from the surroundings.
    ///
    /// # Errors
    /// Names the parameter that is wrong, unknown or not supported, or the file that could not be
    /// read.
    pub fn parse(text: &str, surroundings: Surroundings<'_>) -> Result<Self, ConninfoError> {
        settings::resolve(text::parse(text)?, surroundings)
    }

    /// A server that listens on a socket in `folder`, and asks for no password.
    pub(crate) fn of_socket(folder: &Path, port: u16, user: &str, dbname: &str) -> Self {
        let folder = folder.display().to_string();
        let [folder, user, dbname] = [&folder, user, dbname].map(text::quote);
        let words = format!("host={folder} port={port} user={user} dbname={dbname}");
        Self::parse(&words, Surroundings::NONE).expect("the words are quoted")
    }

    /// Returns the same with another database.
    #[must_use]
    pub fn with_dbname(mut self, dbname: &str) -> Self {
        dbname.clone_into(&mut self.dbname);
        self.settings.insert("dbname".to_owned(), dbname.to_owned());
        self
    }

    /// Returns the same with a name for `pg_stat_activity`.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.application_name);
        self.settings
            .insert("application_name".to_owned(), name.to_owned());
        self
    }

    /// Returns the first host that listens on a socket of this machine, if there is one.
    pub fn local_socket(&self) -> Option<&Host> {
        self.hosts.iter().find(|host| host.socket().is_some())
    }

    /// Returns the variable that gives a child the password, if there is one.
    pub fn password_variable(&self) -> Option<(&'static str, String)> {
        let password = self.hosts.first()?.password.as_ref()?;
        Some(("PGPASSWORD", password.expose().to_owned()))
    }

    /// Returns what a command of the user's needs to reach the database: every setting that libpq's
    /// clients read from a variable.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let settings = self.settings.iter().filter(|(name, _)| *name != "service");
        let set = settings.filter_map(|(name, value)| {
            let variable = settings::variable_of(name)?;
            Some((variable, value.clone()))
        });
        set.chain(self.password_variable()).collect()
    }

    /// Iterates over the variables that libpq's clients read.
    pub fn all_variables() -> impl Iterator<Item = &'static str> {
        settings::variables()
    }

    /// Writes it as `key='value'` pairs for `pg_dump` and the like.
    ///
    /// The password is not among them, since everybody can read a command line: give it to the child
    /// as `PGPASSWORD`.
    pub fn to_libpq(&self) -> String {
        let pairs = self.settings.iter();
        let quoted = pairs.map(|(key, value)| format!("{key}={}", text::quote(value)));
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Returns the password of the first host that has one.
    pub fn password(&self) -> Option<&Password> {
        self.hosts.iter().find_map(|host| host.password.as_ref())
    }
}

impl fmt::Display for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        write!(f, "{} on {}", self.dbname, hosts.join(", "))
    }
}

/// Returns the path of a file in the folder that libpq looks into.
fn home_file(home: Option<&Path>, name: &str) -> Option<PathBuf> {
    home.map(|home| home.join(name))
}

#[cfg(test)]
mod tests;
