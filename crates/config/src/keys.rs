//! References to keys, and how a secret written by mistake is kept out of messages.

use std::cell::RefCell;

use lifeboat_document::{Node, Origin, Reader, Table, Value, parse};
use lifeboat_model::{KeyId, Problems};

use crate::cluster::holds_password;

/// A value with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
}

/// Where the keys are to be had: `env:NAME`, `file:PATH` or `command:LINE`, not yet fetched.
///
/// `passphrase:` before one of these says that it yields a passphrase, not a key; the id of the key
/// may stand in between.
/// A relative `file:` path starts at the project's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRefs {
    /// The key that backs up.
    pub writer: Option<Located<String>>,
    /// The key that restores.
    pub reader: Option<Located<String>>,
    /// The key that lists and verifies structure.
    pub auditor: Option<Located<String>>,
    /// The key that decides what is deleted.
    pub pruner: Option<Located<String>>,
    /// The root secret; better kept on paper.
    pub root: Option<Located<String>>,
}

const ROLES: [&str; 5] = ["writer", "reader", "auditor", "pruner", "root"];

impl KeyRefs {
    /// Iterates over the references that are there, with their role.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Located<String>)> {
        ROLES
            .into_iter()
            .zip([
                &self.writer,
                &self.reader,
                &self.auditor,
                &self.pruner,
                &self.root,
            ])
            .filter_map(|(role, key)| Some((role, key.as_ref()?)))
    }
}

/// Reads a `[keys]` table.
pub(crate) fn read_keys(table: &Table, problems: &RefCell<Problems>) -> KeyRefs {
    let reader = Reader::new(table, "[keys]", problems);
    let key = |role: &'static str| {
        // Not `Reader::string`: its message would repeat what may be the secret itself.
        let node = reader.node(role)?;
        match &node.value {
            Value::String(text) if is_reference(text) => Some(Located {
                value: text.clone(),
                origin: node.origin.clone(),
            }),
            _ => {
                reader.push(node.origin.error(
                    format!("the {role} key is not a reference"),
                    Some(
                        "write `env:NAME`, `file:PATH` or `command:LINE`, never the secret itself; \
                         if it was one, replace that key"
                            .to_owned(),
                    ),
                ));
                None
            }
        }
    };
    let keys = KeyRefs {
        writer: key("writer"),
        reader: key("reader"),
        auditor: key("auditor"),
        pruner: key("pruner"),
        root: key("root"),
    };
    reader.finish();
    keys
}

/// Reports whether `text` says where a secret is to be had.
pub(crate) fn is_reference(text: &str) -> bool {
    without_passphrase(text)
        .split_once(':')
        .is_some_and(|(scheme, rest)| {
            matches!(scheme, "env" | "file" | "command") && !rest.trim().is_empty()
        })
}

/// Reports whether `text` says where a store's credentials are to be had.
pub(crate) fn is_credential_reference(text: &str) -> bool {
    let profile = text.strip_prefix("profile:");
    profile.map_or_else(
        || !text.starts_with("passphrase:") && is_reference(text),
        |name| !name.trim().is_empty(),
    )
}

/// Takes `passphrase:`, and the id of a key behind it, off a reference.
pub(crate) fn without_passphrase(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("passphrase:") else {
        return text;
    };
    match rest.split_once(':') {
        Some((id, reference)) if id.parse::<KeyId>().is_ok() => reference,
        _ => rest,
    }
}

/// Parses a file whose text may hold a secret by mistake.
///
/// Whoever shows problems shows the lines they stand in. So the text that is remembered for this
/// has stars, byte for byte, where a secret stands instead of a reference.
pub(crate) fn parse_guarded(file: &str, text: &str, problems: &mut Problems) -> Table {
    let mut found = Problems::new();
    let table = parse(file, text, &mut found);
    let mut shown = mask_lines(text);
    for keys in key_tables(&table).into_iter().chain(credentials(&table)) {
        mask_values(keys, &mut shown);
    }
    mask_passwords(&table, &mut shown);
    problems.add_text(file.into(), shown.into());
    // Its own text is not taken over: there is one already.
    problems.merge(found);
    table
}

/// Returns the key tables of a file: its own, and those of environments written in it.
fn key_tables(table: &Table) -> Vec<&Node> {
    let mut found: Vec<_> = table
        .get("keys")
        .map(|(_, node)| node)
        .into_iter()
        .collect();
    if let Some((
        _,
        Node {
            value: Value::Table(all),
            ..
        },
    )) = table.get("environments")
    {
        for (_, node) in &all.entries {
            if let Value::Table(environment) = &node.value {
                found.extend(environment.get("keys").map(|(_, node)| node));
            }
        }
    }
    found
}

/// Returns what regions say of their credentials.
fn credentials(table: &Table) -> Vec<&Node> {
    let Some((_, node)) = table.get("region") else {
        return Vec::new();
    };
    let Value::Table(regions) = &node.value else {
        return Vec::new();
    };
    let regions = regions.entries.iter();
    let found = regions.filter_map(|(_, region)| match &region.value {
        Value::Table(region) => region.get("credentials"),
        _ => None,
    });
    found.map(|(_, node)| node).collect()
}

/// Masks every value below `node` that is not a reference.
fn mask_values(node: &Node, shown: &mut String) {
    match &node.value {
        Value::Table(table) => {
            for (_, node) in &table.entries {
                mask_values(node, shown);
            }
        }
        Value::String(text) if is_reference(text) || is_credential_reference(text) => {}
        _ => star_out(shown, node.origin.span.clone()),
    }
}

/// Masks passwords of clusters, and connection strings that hold one, wherever they stand.
fn mask_passwords(table: &Table, shown: &mut String) {
    for (key, node) in &table.entries {
        match &node.value {
            Value::Table(inner) => mask_passwords(inner, shown),
            Value::String(text) if key.name == "url" && holds_password(text) => {
                star_out(shown, node.origin.span.clone());
            }
            Value::String(text) if key.name == "password" && !is_reference(text) => {
                star_out(shown, node.origin.span.clone());
            }
            _ => {}
        }
    }
}

/// Masks by spelling, for files so broken that no value can be found.
fn mask_lines(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && is_secret_key(key.trim().trim_matches(['"', '\'']))
            && !is_credential_reference(value.trim().trim_start_matches(['"', '\'']))
            && !is_reference(value.trim().trim_start_matches(['"', '\'']))
        {
            let end = start + line.trim_end().len();
            star_out(&mut shown, start + key.len() + 1..end);
        }
        start += line.len();
    }
    shown
}

fn is_secret_key(name: &str) -> bool {
    name == "credentials" || ROLES.contains(&name)
}

fn star_out(shown: &mut String, span: std::ops::Range<usize>) {
    if let Some(part) = shown.get(span.clone()) {
        let star = |byte| if byte == b'\n' { '\n' } else { '*' };
        let stars: String = part.bytes().map(star).collect();
        shown.replace_range(span, &stars);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (KeyRefs, Problems) {
        let mut problems = Problems::new();
        let table = parse_guarded("c.toml", text, &mut problems);
        let problems = RefCell::new(problems);
        let keys = match table.get("keys") {
            Some((
                _,
                Node {
                    value: Value::Table(keys),
                    ..
                },
            )) => read_keys(keys, &problems),
            _ => KeyRefs::default(),
        };
        (keys, problems.into_inner())
    }

    #[test]
    fn a_secret_written_as_a_value_is_refused_and_shown_nowhere() {
        for text in [
            "[keys]\nwriter = \"hunter2\"\n",
            "[keys]\nreader = '''\nhunter2'''\n",
            "keys = { root = \"hunter2\" }\n",
            "[keys]\nwriter = [\"hunter2\"]\n",
            "[keys]\nwriter = hunter2\n",
            "[keys]\nwriter = \"passphrase:hunter2\"\n",
            "[keys]\npruner = \"hunter2\"\n",
            "[keys\nwriter = \"hunter2\"\n",
            "[keys]\n'reader' = 'hunter2\n",
            "[environments.prod]\nkeys.writer = \"hunter2\"\n[keys]\nroot = 1\n",
        ] {
            let (keys, problems) = read(text);
            assert!(problems.has_errors(), "{text}");
            assert!(!problems.to_string().contains("hunter2"), "{problems}");
            let shown = problems.text_of("c.toml").unwrap();
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(shown.len(), text.len(), "places must stay true");
            assert!(!format!("{keys:?}").contains("hunter2"));
        }
    }

    #[test]
    fn references_stay_readable() {
        let text = "[keys]\nwriter = \"file:keys/w\"\nreader = 'passphrase:env:READER'\n\
                    auditor = 'passphrase:0123456789abcdef:env:A'\n";
        let (keys, problems) = read(text);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(problems.text_of("c.toml"), Some(text));
        let roles: Vec<_> = keys.iter().map(|(role, key)| (role, &*key.value)).collect();
        assert_eq!(
            roles,
            [
                ("writer", "file:keys/w"),
                ("reader", "passphrase:env:READER"),
                ("auditor", "passphrase:0123456789abcdef:env:A"),
            ]
        );
    }
}
