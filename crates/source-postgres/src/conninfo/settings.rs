//! From names and values to a [`Conninfo`]: which source of a setting wins, and what it means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConninfoError;
use super::files::{self, PassFile};
use super::text::Pairs;
use super::{
    ChannelBinding, Conninfo, Host, Password, Place, RootCertificates, SessionTarget, Ssl, SslMode,
    Surroundings, home_file,
};

/// Where servers put their sockets unless told otherwise: Debian and Red Hat, then the source.
pub(super) const SOCKET_FOLDERS: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// How long a host may take to answer unless `connect_timeout` says; libpq would wait for ever.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Parameters and the variables that stand in for them.
const KNOWN: [(&str, Option<&str>); 34] = [
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", None),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", None),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("service", Some("PGSERVICE")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", None),
    ("sslcompression", None),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Parameters of libpq that change whom one talks to or what one trusts, and are not honoured here.
const UNSUPPORTED: [(&str, Option<&str>); 12] = [
    ("authtype", None),
    ("max_protocol_version", None),
    ("min_protocol_version", None),
    ("oauth_client_id", None),
    ("oauth_issuer", None),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslpassword", None),
];

/// Returns the variable that stands in for a parameter.
pub(super) fn variable_of(name: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    known.and_then(|(_, variable)| *variable)
}

/// Iterates over all variables that libpq reads.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let all = KNOWN.iter().chain(&UNSUPPORTED);
    all.filter_map(|(_, variable)| *variable)
}

pub(super) fn resolve(given: Pairs, around: Surroundings<'_>) -> Result<Conninfo, ConninfoError> {
    let home = (around.variable)("HOME").map(PathBuf::from);
    let mut pairs = merge(given, around, home.as_deref())?;
    let user = match pairs.get("user") {
        Some(user) => user.clone(),
        None => system_user(around).ok_or(ConninfoError::NoUser)?,
    };
    let dbname = pairs.get("dbname").unwrap_or(&user).clone();
    let password = pairs.remove("password").map(Password::new);
    let mut hosts = hosts(&pairs)?;
    let passfile = pairs.get("passfile").map(PathBuf::from);
    let passfile = passfile.or_else(|| home_file(home.as_deref(), ".pgpass"));
    let mut ignored_passfile = None;
    if password.is_some() {
        for host in &mut hosts {
            host.password.clone_from(&password);
        }
    } else if let Some(path) = passfile {
        let file = match PassFile::read(&path) {
            // That the home of another account cannot be entered is no matter, as for libpq.
            Err(_) if !pairs.contains_key("passfile") => PassFile::Missing,
            read => read?,
        };
        for host in &mut hosts {
            host.password = file.password(host, &dbname, &user);
        }
        ignored_passfile = matches!(file, PassFile::TooOpen).then_some(path);
    }
    let name = pairs.get("application_name");
    let name = name.or_else(|| pairs.get("fallback_application_name"));
    let application_name = name.map_or("lifeboat", String::as_str).to_owned();
    for (key, value) in [("user", &user), ("dbname", &dbname)] {
        pairs.insert(key.to_owned(), value.clone());
    }
    pairs.insert("application_name".to_owned(), application_name.clone());
    Ok(Conninfo {
        hosts,
        user,
        dbname,
        ssl: ssl(&pairs, home.as_deref())?,
        application_name,
        connect_timeout: connect_timeout(&pairs)?,
        options: pairs.get("options").cloned(),
        target: target(&pairs)?,
        ignored_passfile,
        settings: pairs,
    })
}

/// Adds what the service file and the variables say to what was given, and refuses unknown names.
fn merge(
    mut pairs: Pairs,
    around: Surroundings<'_>,
    home: Option<&Path>,
) -> Result<Pairs, ConninfoError> {
    check_names(&pairs)?;
    let service = pairs.remove("service");
    if let Some(service) = service.or_else(|| (around.variable)("PGSERVICE")) {
        let found = files::service(&service, &service_files(around, home))?;
        check_names(&found)?;
        for (key, value) in found {
            pairs.entry(key).or_insert(value);
        }
    }
    for (key, variable) in KNOWN.into_iter().chain(UNSUPPORTED) {
        let Some(variable) = variable.filter(|_| key != "service") else {
            continue;
        };
        if !pairs.contains_key(key)
            && let Some(value) = (around.variable)(variable)
        {
            pairs.insert(key.to_owned(), value);
        }
    }
    // An empty value means that nothing was said.
    pairs.retain(|_, value| !value.is_empty());
    check_names(&pairs)?;
    Ok(pairs)
}

fn check_names(pairs: &Pairs) -> Result<(), ConninfoError> {
    for (key, value) in pairs {
        let unsupported = |why: String| ConninfoError::Unsupported {
            name: key.clone(),
            why,
        };
        if UNSUPPORTED.iter().any(|(name, _)| name == key) {
            return Err(unsupported(String::new()));
        }
        if !KNOWN.iter().any(|(known, _)| known == key) {
            return Err(ConninfoError::Unknown { name: key.clone() });
        }
        let demanded = match key.as_str() {
            "gssencmode" => value == "require",
            "ssl_min_protocol_version" => value == "TLSv1.3",
            _ => false,
        };
        if demanded {
            return Err(unsupported(format!(" as `{value}`")));
        }
    }
    Ok(())
}

fn service_files(around: Surroundings<'_>, home: Option<&Path>) -> Vec<PathBuf> {
    let own = (around.variable)("PGSERVICEFILE").map(PathBuf::from);
    let own = own.or_else(|| home_file(home, ".pg_service.conf"));
    let folder = (around.variable)("PGSYSCONFDIR");
    let folder = folder.unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let system = Path::new(&folder).join("pg_service.conf");
    own.into_iter().chain([system]).collect()
}

/// Returns the name of the user who runs this: as libpq, by its number; then what the login said.
fn system_user(around: Surroundings<'_>) -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named
        .or_else(|| (around.variable)("LOGNAME"))
        .or_else(|| (around.variable)("USER"))
}

fn value_error(name: &str, value: &str, takes: &'static str) -> ConninfoError {
    ConninfoError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        takes,
    }
}

fn list<'a>(pairs: &'a Pairs, key: &str) -> Vec<&'a str> {
    let text = pairs.get(key);
    text.map_or_else(Vec::new, |text| text.split(',').map(str::trim).collect())
}

fn hosts(pairs: &Pairs) -> Result<Vec<Host>, ConninfoError> {
    let (names, addresses) = (list(pairs, "host"), list(pairs, "hostaddr"));
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(ConninfoError::Count {
            hosts: names.len(),
            others: addresses.len(),
            name: "hostaddr",
        });
    }
    let ports = list(pairs, "port");
    if ports.len() > 1 && ports.len() != count {
        return Err(ConninfoError::Count {
            hosts: count,
            others: ports.len(),
            name: "port",
        });
    }
    let one = |at: usize| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or_default();
        let port = parse_port(port)?;
        let name = names.get(at).copied().unwrap_or_default();
        let address = addresses.get(at).copied().unwrap_or_default();
        let place = place(name, address, port)?;
        let password = None;
        Ok(Host {
            place,
            port,
            password,
        })
    };
    (0..count).map(one).collect()
}

fn parse_port(text: &str) -> Result<u16, ConninfoError> {
    if text.is_empty() {
        return Ok(5432);
    }
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| value_error("port", text, "a number from 1 to 65535"))
}

fn place(name: &str, address: &str, port: u16) -> Result<Place, ConninfoError> {
    if !address.is_empty() {
        let parsed = address.parse();
        let parsed = parsed.map_err(|_| value_error("hostaddr", address, "an IP address"))?;
        let name = if name.is_empty() { address } else { name };
        return Ok(Place::Network {
            name: name.to_owned(),
            address: Some(parsed),
        });
    }
    if name.starts_with('@') {
        return Err(ConninfoError::Unsupported {
            name: "host".to_owned(),
            why: " with an abstract socket".to_owned(),
        });
    }
    Ok(match name {
        "" => Place::Socket(default_socket_folder(port)),
        path if path.starts_with('/') => Place::Socket(path.into()),
        name => Place::Network {
            name: name.to_owned(),
            address: None,
        },
    })
}

/// The folder that has a socket for `port`; if none has, the one where it would most likely be.
fn default_socket_folder(port: u16) -> PathBuf {
    let folders = SOCKET_FOLDERS.map(PathBuf::from);
    let socket = format!(".s.PGSQL.{port}");
    let with_socket = folders.iter().find(|folder| folder.join(&socket).exists());
    let there = with_socket.or_else(|| folders.iter().find(|folder| folder.is_dir()));
    there.unwrap_or(&folders[0]).clone()
}

fn ssl(pairs: &Pairs, home: Option<&Path>) -> Result<Ssl, ConninfoError> {
    let existing = |name: &str| home_file(home, name).filter(|path| path.exists());
    let roots = match pairs.get("sslrootcert").map(String::as_str) {
        Some("system") => Some(RootCertificates::System),
        Some(path) => Some(RootCertificates::File(path.into())),
        None => existing(".postgresql/root.crt").map(RootCertificates::File),
    };
    let mode = match pairs.get("sslmode").map(String::as_str) {
        None if roots == Some(RootCertificates::System) => SslMode::VerifyFull,
        None => SslMode::Prefer,
        Some(word) => ssl_mode(word)?,
    };
    if roots == Some(RootCertificates::System) && mode != SslMode::VerifyFull {
        let word = pairs.get("sslmode").map_or("", String::as_str);
        let takes = "`verify-full` beside `sslrootcert=system`: anybody gets such a certificate";
        return Err(value_error("sslmode", word, takes));
    }
    let certificate = pairs.get("sslcert").map(PathBuf::from);
    let certificate = certificate.or_else(|| existing(".postgresql/postgresql.crt"));
    let key = pairs.get("sslkey").map(PathBuf::from);
    let key = key.or_else(|| existing(".postgresql/postgresql.key"));
    Ok(Ssl {
        mode,
        roots,
        client: certificate.zip(key),
        direct: match pairs.get("sslnegotiation").map(String::as_str) {
            None | Some("postgres") => false,
            Some("direct") if mode >= SslMode::Require => true,
            Some(word) => {
                let takes = "`postgres`, or `direct` beside an `sslmode` of `require` or more";
                return Err(value_error("sslnegotiation", word, takes));
            }
        },
        binding: binding(pairs)?,
    })
}

fn ssl_mode(word: &str) -> Result<SslMode, ConninfoError> {
    let takes = "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`";
    Ok(match word {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err(value_error("sslmode", word, takes)),
    })
}

fn binding(pairs: &Pairs) -> Result<ChannelBinding, ConninfoError> {
    let takes = "`disable`, `prefer` or `require`";
    Ok(match pairs.get("channel_binding").map(String::as_str) {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(word) => return Err(value_error("channel_binding", word, takes)),
    })
}

fn connect_timeout(pairs: &Pairs) -> Result<Duration, ConninfoError> {
    let Some(text) = pairs.get("connect_timeout") else {
        return Ok(TIMEOUT);
    };
    let secs: i64 = text
        .trim()
        .parse()
        .map_err(|_| value_error("connect_timeout", text, "a number of seconds"))?;
    Ok(match u64::try_from(secs) {
        Ok(0) | Err(_) => TIMEOUT,
        Ok(secs) => Duration::from_secs(secs.clamp(2, 3600)),
    })
}

fn target(pairs: &Pairs) -> Result<SessionTarget, ConninfoError> {
    let takes = "`any`, `read-write`, `primary`, `read-only` or `standby`";
    Ok(
        match pairs.get("target_session_attrs").map(String::as_str) {
            None | Some("any") => SessionTarget::Any,
            Some("read-write" | "primary") => SessionTarget::Primary,
            Some("read-only" | "standby") => SessionTarget::Standby,
            Some(word) => return Err(value_error("target_session_attrs", word, takes)),
        },
    )
}
