//! One byte stream to a server, encrypted or not.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::error::ConnectError;
use super::tls;
use crate::conninfo::{Host, Place, Ssl};

/// How long a silent connection may be before the system asks the other side, and how often and how
/// many times it then asks: a dead host is noticed within two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 6;

/// Whether to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    IfOffered,
    Must,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream to a server.
pub(crate) struct Wire {
    stream: Box<dyn Duplex>,
    encryption: Option<tls::Endpoint>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encrypted = self.is_encrypted();
        f.debug_struct("Wire")
            .field("encrypted", &encrypted)
            .finish()
    }
}

impl Wire {
    pub(crate) fn plain(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            encryption: None,
        }
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// Returns what a password exchange can be bound to: the hash of the server's certificate.
    pub(crate) fn server_end_point(&self) -> Option<&[u8]> {
        self.encryption.as_ref()?.certificate_hash.as_deref()
    }
}

/// Opens a stream to `host`.
pub(super) async fn open(
    host: &Host,
    ssl: &Ssl,
    encryption: Encryption,
) -> Result<Wire, ConnectError> {
    let absent = |source| ConnectError::NoServer {
        host: host.to_string(),
        source,
    };
    let (name, address) = match &host.place {
        Place::Socket(_) => {
            let path = host.socket().expect("it is a socket");
            let stream = UnixStream::connect(path).await.map_err(absent)?;
            return Ok(Wire::plain(stream));
        }
        Place::Network { name, address } => (name, address),
    };
    let connected = match address {
        Some(address) => TcpStream::connect((*address, host.port)).await,
        None => TcpStream::connect((name.as_str(), host.port)).await,
    };
    let mut stream = connected.map_err(absent)?;
    tune(&stream).map_err(absent)?;
    if encryption == Encryption::None {
        return Ok(Wire::plain(stream));
    }
    let offered = ssl.direct || ask_for_encryption(host, &mut stream).await?;
    match encryption {
        _ if offered => {
            let (stream, endpoint) = tls::encrypt(host, name, ssl, stream).await?;
            Ok(Wire {
                stream: Box::new(stream),
                encryption: Some(endpoint),
            })
        }
        Encryption::Must => Err(ConnectError::TlsRefused {
            host: host.to_string(),
        }),
        _ => Ok(Wire::plain(stream)),
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// Asks whether the server can encrypt. It answers with one byte and nothing else, so that nobody in
/// between can slip in bytes that would pass for encrypted ones.
async fn ask_for_encryption(host: &Host, stream: &mut TcpStream) -> Result<bool, ConnectError> {
    let broken = |source| ConnectError::Broken {
        host: host.to_string(),
        source,
    };
    let mut request = BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(broken)?;
    match stream.read_u8().await.map_err(broken)? {
        b'S' => Ok(true),
        // An error is what a server answers that is out of memory or of processes.
        b'N' | b'E' => Ok(false),
        other => Err(ConnectError::Protocol {
            host: host.to_string(),
            why: format!("it answers {other:#04x} when asked for encryption"),
        }),
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        match self.server_end_point() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.to_vec()),
            None => ChannelBinding::none(),
        }
    }
}

/// Tells `tokio-postgres` that the stream it is given is the one to use.
pub(super) struct AlreadyEncrypted;

impl TlsConnect<Wire> for AlreadyEncrypted {
    type Stream = Wire;
    type Error = io::Error;
    type Future = Ready<io::Result<Wire>>;

    fn connect(self, stream: Wire) -> Self::Future {
        ready(Ok(stream))
    }
}
