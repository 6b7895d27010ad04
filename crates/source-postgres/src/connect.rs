//! Opens connections to servers: sockets, encryption, and sessions for SQL.
//!
//! Hosts are tried in order, each bounded by `connect_timeout`. One stream type serves SQL sessions
//! and the replication protocol alike.

mod error;
mod tls;
mod wire;

use std::future::Future;
use std::ops::{Deref, DerefMut};

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding as Binding, SslMode as Mode, SslNegotiation};

use crate::conninfo::{ChannelBinding, Conninfo, Host, SessionTarget, SslMode};

pub use error::{ConnectError, ServerError};
pub(crate) use wire::{Encryption, Wire};

/// A session that runs SQL. Its connection ends when this is dropped.
#[derive(Debug)]
pub struct SqlSession {
    client: Client,
    host: Host,
    driver: JoinHandle<()>,
}

impl SqlSession {
    /// Connects to the first of the hosts that will do.
    ///
    /// # Errors
    /// Says for the most telling host why it did not do: it is not there, refuses the login, has no
    /// such database, or encryption cannot be agreed on.
    pub async fn connect(conninfo: &Conninfo) -> Result<Self, ConnectError> {
        reach(conninfo, |wire, host| start_session(wire, host, conninfo)).await
    }

    /// Returns the host that answered.
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl Deref for SqlSession {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for SqlSession {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn start_session(
    wire: Wire,
    host: Host,
    conninfo: &Conninfo,
) -> Result<SqlSession, ConnectError> {
    let mut config = tokio_postgres::Config::new();
    config
        .user(&conninfo.user)
        .dbname(&conninfo.dbname)
        .application_name(&conninfo.application_name)
        // Without one, an empty password: the server's refusal then says that one is missing.
        .password(
            host.password
                .as_ref()
                .map_or("", |password| password.expose()),
        )
        .channel_binding(match conninfo.ssl.binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
    if let Some(options) = &conninfo.options {
        config.options(options);
    }
    // The stream is encrypted already: `Direct` hands it through without asking the server again.
    if wire.is_encrypted() {
        config
            .ssl_mode(Mode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
    } else {
        config.ssl_mode(Mode::Disable);
    }
    let encrypted = wire.is_encrypted();
    let connected = config.connect_raw(wire, wire::AlreadyEncrypted).await;
    let (client, connection) =
        connected.map_err(|error| ConnectError::of_session(&host, conninfo, encrypted, error))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // The next query of the session fails with the same; this is for operators only.
            tracing::debug!(error = %error, "the SQL connection ended");
        }
    });
    let session = SqlSession {
        client,
        host,
        driver,
    };
    check_target(&session, conninfo).await?;
    Ok(session)
}

async fn check_target(session: &SqlSession, conninfo: &Conninfo) -> Result<(), ConnectError> {
    let wants_standby = match conninfo.target {
        SessionTarget::Any => return Ok(()),
        SessionTarget::Primary => false,
        SessionTarget::Standby => true,
    };
    let row = session
        .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])
        .await
        .map_err(|error| ConnectError::of_session(&session.host, conninfo, false, error))?;
    if row.get::<_, bool>(0) == wants_standby {
        return Ok(());
    }
    Err(ConnectError::WrongTarget {
        host: session.host.to_string(),
        wanted: if wants_standby {
            "a standby"
        } else {
            "a primary"
        },
    })
}

/// Opens a stream to each host in turn and hands it to `start`, until one succeeds.
pub(crate) async fn reach<'a, T, F, Started>(
    conninfo: &'a Conninfo,
    start: F,
) -> Result<T, ConnectError>
where
    F: Fn(Wire, Host) -> Started + Send + 'a,
    Started: Future<Output = Result<T, ConnectError>> + Send + 'a,
{
    let mut telling: Option<ConnectError> = None;
    for host in &conninfo.hosts {
        match reach_host(conninfo, host, &start).await {
            Ok(started) => return Ok(started),
            Err(error) => {
                tracing::debug!(host = %host, error = %error, "a host did not do");
                // A host that is down says less than one that refuses.
                if telling.as_ref().is_none_or(ConnectError::is_absence) {
                    telling = Some(error);
                }
            }
        }
    }
    Err(telling.expect("a conninfo has a host"))
}

async fn reach_host<T, F, Started>(
    conninfo: &Conninfo,
    host: &Host,
    start: &F,
) -> Result<T, ConnectError>
where
    F: Fn(Wire, Host) -> Started,
    Started: Future<Output = Result<T, ConnectError>>,
{
    let mut failed: Option<ConnectError> = None;
    for encryption in encryptions(conninfo, host) {
        let attempt = async {
            let wire = wire::open(host, &conninfo.ssl, *encryption).await?;
            start(wire, host.clone()).await
        };
        let outcome = tokio::time::timeout(conninfo.connect_timeout, attempt).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(ConnectError::Timeout {
                host: host.to_string(),
                limit: conninfo.connect_timeout,
            })
        });
        match outcome {
            Ok(started) => return Ok(started),
            // Only what encryption could change is worth a second try, and the first answer is the
            // one to show if that fails too.
            Err(error) if error.may_depend_on_encryption() => {
                failed.get_or_insert(error);
            }
            Err(error) => return Err(failed.unwrap_or(error)),
        }
    }
    Err(failed.expect("there is a way to try"))
}

/// The ways to try a host, in libpq's order. A socket of this machine is never encrypted.
fn encryptions(conninfo: &Conninfo, host: &Host) -> &'static [Encryption] {
    if host.socket().is_some() {
        return &[Encryption::None];
    }
    match conninfo.ssl.mode {
        SslMode::Disable => &[Encryption::None],
        SslMode::Allow => &[Encryption::None, Encryption::Must],
        SslMode::Prefer => &[Encryption::IfOffered, Encryption::None],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Must],
    }
}
