//! Where the server of a cluster listens by its own configuration, and whether somebody listens there
//! already.

use std::net::{TcpListener, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where servers put their sockets unless they are told otherwise: as PostgreSQL itself has it, and as
/// Debian's packages do.
const SOCKET_FOLDERS: [&str; 2] = ["/tmp", "/var/run/postgresql"];

/// Where a server would listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The port, which names the sockets too.
    pub port: u16,
    socket_folders: Vec<PathBuf>,
    addresses: Vec<String>,
}

impl Listening {
    /// Reads it from a cluster's configuration files, of which later ones win. What they include is not
    /// looked at.
    pub fn read<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut listening = Self {
            port: 5432,
            socket_folders: SOCKET_FOLDERS.map(PathBuf::from).to_vec(),
            addresses: vec!["localhost".to_owned()],
        };
        for (name, value) in texts.into_iter().flat_map(str::lines).filter_map(setting) {
            match name.to_ascii_lowercase().as_str() {
                "port" => listening.port = value.parse().unwrap_or(listening.port),
                "unix_socket_directories" => {
                    listening.socket_folders = list(&value).map(PathBuf::from).collect();
                }
                "listen_addresses" => listening.addresses = list(&value).collect(),
                _ => {}
            }
        }
        listening
    }

    /// Names the socket or address on which somebody listens already, if one does.
    pub fn taken(&self) -> Option<String> {
        let sockets = self.socket_folders.iter();
        let mut sockets = sockets.map(|folder| folder.join(format!(".s.PGSQL.{}", self.port)));
        let socket = sockets.find(|socket| answers(socket));
        let socket = socket.map(|socket| socket.display().to_string());
        socket.or_else(|| {
            let mut addresses = self.addresses.iter();
            let address = addresses.find(|address| is_bound(address, self.port))?;
            Some(format!("{address}:{}", self.port))
        })
    }
}

fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// Reports whether a port cannot be listened on because somebody does. A name may stand for several
/// addresses, each of which counts.
fn is_bound(address: &str, port: u16) -> bool {
    let address = match address {
        "*" => "0.0.0.0",
        other => other,
    };
    let Ok(mut resolved) = (address, port).to_socket_addrs() else {
        return false;
    };
    resolved.any(|address| {
        let bound = TcpListener::bind(address);
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    })
}

/// Splits a list at its commas; PostgreSQL lets parts of it stand in double quotes.
fn list(value: &str) -> impl Iterator<Item = String> {
    let parts = value.split(',').map(|part| part.trim().trim_matches('"'));
    parts.filter(|part| !part.is_empty()).map(str::to_owned)
}

/// Reads `name = value`, where the sign may be missing and the value may be quoted.
fn setting(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let end =
        line.find(|letter: char| !(letter.is_ascii_alphanumeric() || "_.".contains(letter)))?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => unquoted(quoted),
        None => {
            let end = rest.find(|letter: char| letter.is_whitespace() || letter == '#');
            rest[..end.unwrap_or(rest.len())].to_owned()
        }
    };
    (!name.is_empty()).then_some((name, value))
}

/// Reads up to the closing quote: one is written as two, or behind a backslash.
fn unquoted(quoted: &str) -> String {
    let mut value = String::new();
    let mut letters = quoted.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if letters.next_if_eq(&'\'').is_none() => break,
            '\\' => value.extend(letters.next()),
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_the_configuration_counts() {
        let main = "# port = 1\nport = 5433 # not 1\nlisten_addresses '*'\n\
                    Unix_Socket_Directories = '/run/it''s, \"/tmp/b\"'\n";
        let read = Listening::read([main, "port = '6000'\n"]);
        assert_eq!(read.port, 6000);
        assert_eq!(read.addresses, ["*"]);
        let folders = ["/run/it's", "/tmp/b"].map(PathBuf::from);
        assert_eq!(read.socket_folders, folders);
        assert_eq!(Listening::read([]).port, 5432);
        assert!(
            Listening::read(["listen_addresses = ''"])
                .addresses
                .is_empty()
        );
    }

    #[test]
    fn a_port_that_somebody_has_is_told() {
        let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = somebody.local_addr().unwrap().port();
        let text =
            format!("port = {port}\nunix_socket_directories = ''\nlisten_addresses = 'localhost'");
        let listening = Listening::read([text.as_str()]);
        assert_eq!(listening.taken(), Some(format!("localhost:{port}")));
        drop(somebody);
        assert_eq!(listening.taken(), None);
    }
}
