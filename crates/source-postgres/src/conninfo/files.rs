//! libpq's files: services and passwords.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::ConninfoError;
use super::text::Pairs;
use super::{Host, Password, Place};

/// Returns the settings of `service` from the first of `files` that has it.
pub(super) fn service(service: &str, files: &[PathBuf]) -> Result<Pairs, ConninfoError> {
    for path in files {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(ConninfoError::Io {
                    what: "service file",
                    path: path.clone(),
                    source,
                });
            }
        };
        if let Some(pairs) = find_service(service, &text, path)? {
            return Ok(pairs);
        }
    }
    Err(ConninfoError::NoService {
        service: service.to_owned(),
        path: files.last().cloned().unwrap_or_default(),
    })
}

fn find_service(service: &str, text: &str, path: &Path) -> Result<Option<Pairs>, ConninfoError> {
    let bad = |line: usize, why| ConninfoError::ServiceFile {
        path: path.to_owned(),
        line: line + 1,
        why,
    };
    let mut found: Option<Pairs> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if name.strip_suffix(']') == Some(service) {
                found = Some(Pairs::new());
            }
        } else if let Some(pairs) = &mut found {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| bad(number, "has no `=`"))?;
            if key.trim() == "service" {
                return Err(bad(number, "names another service"));
            }
            pairs.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    Ok(found)
}

/// A password file, if it may be used.
#[derive(Debug)]
pub(super) enum PassFile {
    Lines(zeroize::Zeroizing<String>),
    /// Others may read it, so libpq takes no password from it.
    TooOpen,
    Missing,
}

impl PassFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConninfoError> {
        let failed = |source| ConninfoError::Io {
            what: "password file",
            path: path.to_owned(),
            source,
        };
        let found = match path.metadata() {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Ok(Self::Missing),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Missing),
            Err(error) => return Err(failed(error)),
        };
        if found.mode() & 0o077 != 0 {
            return Ok(Self::TooOpen);
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Ok(Self::Lines(text.into()))
    }

    /// Returns the password of the first line that fits.
    pub(super) fn password(&self, host: &Host, dbname: &str, user: &str) -> Option<Password> {
        let Self::Lines(text) = self else {
            return None;
        };
        let host_name = match &host.place {
            Place::Socket(folder) if is_default_folder(folder) => "localhost".to_owned(),
            Place::Socket(folder) => folder.display().to_string(),
            Place::Network { name, .. } => name.clone(),
        };
        let port = host.port.to_string();
        let wanted = [host_name.as_str(), &port, dbname, user];
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| match_line(line, &wanted)).next()
    }
}

fn is_default_folder(folder: &Path) -> bool {
    super::settings::SOCKET_FOLDERS
        .iter()
        .any(|default| folder == Path::new(default))
}

/// Compares `host:port:database:user:password`; a backslash takes the next letter as it is.
fn match_line(line: &str, wanted: &[&str; 4]) -> Option<Password> {
    let mut rest = line;
    for want in wanted {
        let (field, literal, after) = take_field(rest)?;
        if field != *want && literal != "*" {
            return None;
        }
        rest = after;
    }
    let mut password = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' {
            letters.next()?
        } else {
            letter
        };
        password.push(letter);
    }
    (!password.is_empty()).then(|| Password::new(password))
}

/// Takes one field: unescaped, as written, and what follows the colon.
fn take_field(text: &str) -> Option<(String, &str, &str)> {
    let mut field = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ':' => return Some((field, &text[..at], &text[at + 1..])),
            '\\' => field.push(letters.next()?.1),
            other => field.push(other),
        }
    }
    None
}
