//! The two forms of a connection string, down to pairs of names and values.

use std::collections::BTreeMap;

use super::error::ConninfoError;

/// Settings by libpq's names.
pub(super) type Pairs = BTreeMap<String, String>;

fn syntax(why: impl Into<String>) -> ConninfoError {
    ConninfoError::Syntax { why: why.into() }
}

/// Reads either form.
pub(super) fn parse(text: &str) -> Result<Pairs, ConninfoError> {
    let text = text.trim();
    let url = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match url {
        Some(rest) => parse_url(rest),
        None => parse_pairs(text),
    }
}

/// Writes a value so that libpq reads it back.
pub(super) fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for letter in value.chars() {
        if matches!(letter, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('\'');
    quoted
}

fn parse_pairs(text: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(syntax("has a word without `=`"));
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(syntax("has a word without `=`"));
        }
        let (value, after) = take_value(after.trim_start(), key)?;
        pairs.insert(key.to_owned(), value);
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Takes one value, quoted or not, and returns it with what follows.
fn take_value<'a>(text: &'a str, key: &str) -> Result<(String, &'a str), ConninfoError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped)) => value.push(escaped),
                None if quoted => break,
                None => return Ok((value, "")),
            },
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted {
        return Err(syntax(format!("leaves the quotes of `{key}` open")));
    }
    Ok((value, ""))
}

fn parse_url(rest: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::new();
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = split_authority(before_query);
    let hosts = match authority.rsplit_once('@') {
        Some((login, hosts)) => {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            insert_if_any(&mut pairs, "user", user)?;
            insert_if_any(&mut pairs, "password", password.unwrap_or_default())?;
            hosts
        }
        None => authority,
    };
    insert_hosts(&mut pairs, hosts)?;
    insert_if_any(&mut pairs, "dbname", path)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(syntax("has a query parameter without `=`"));
        };
        insert_query(&mut pairs, &decode(key, "a query parameter")?, value)?;
    }
    Ok(pairs)
}

/// Splits at the slash before the database; a slash in a password is encoded.
fn split_authority(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

fn insert_query(pairs: &mut Pairs, key: &str, value: &str) -> Result<(), ConninfoError> {
    let value = decode(value, key)?;
    // JDBC's word, which libpq takes too.
    if key == "ssl" {
        if value != "true" {
            return Err(ConninfoError::Unknown {
                name: key.to_owned(),
            });
        }
        pairs.insert("sslmode".to_owned(), "require".to_owned());
        return Ok(());
    }
    pairs.insert(key.to_owned(), value);
    Ok(())
}

fn insert_if_any(pairs: &mut Pairs, key: &str, value: &str) -> Result<(), ConninfoError> {
    if !value.is_empty() {
        pairs.insert(key.to_owned(), decode(value, key)?);
    }
    Ok(())
}

fn insert_hosts(pairs: &mut Pairs, list: &str) -> Result<(), ConninfoError> {
    if list.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in list.split(',') {
        let (host, port) = split_port(one)?;
        hosts.push(decode(host, "host")?);
        ports.push(decode(port, "port")?);
    }
    pairs.insert("host".to_owned(), hosts.join(","));
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.insert("port".to_owned(), ports.join(","));
    }
    Ok(())
}

fn split_port(one: &str) -> Result<(&str, &str), ConninfoError> {
    if let Some(rest) = one.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return Err(syntax("leaves the bracket of an IPv6 address open"));
        };
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, port)),
            None if after.is_empty() => Ok((address, "")),
            None => Err(syntax("has text behind the bracket of an IPv6 address")),
        };
    }
    Ok(one.split_once(':').unwrap_or((one, "")))
}

/// Decodes `%41`.
fn decode(text: &str, what: &str) -> Result<String, ConninfoError> {
    let bad = || syntax(format!("has a bad `%` code in `{what}`"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).ok_or_else(bad)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(bad());
        };
        let byte = (high * 16 + low) as u8;
        if byte == 0 {
            return Err(bad());
        }
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
