//! Layers: files, variables and flags merged into one tree that remembers who said what.
//!
//! The tree is `lifeboat.toml` with each `environments/NAME.toml` under `environments.NAME`.

use std::io;
use std::path::Path;

use lifeboat_document::{Key, Node, Origin, Table, Value, parse};
use lifeboat_model::Problems;

use crate::keys::parse_guarded;

/// The file that makes a folder a project.
pub(crate) const BASE_FILE: &str = "lifeboat.toml";

/// What variables that set a value start with; `__` then stands between the parts of the key.
const VARIABLE_PREFIX: &str = "LIFEBOAT__";

/// Reads and merges all layers; `None` if there is no project to speak of.
pub(crate) fn merge(
    root: &Path,
    variables: &[(String, String)],
    flags: &[(String, String)],
    problems: &mut Problems,
) -> Option<Table> {
    let text = match std::fs::read_to_string(root.join(BASE_FILE)) {
        Ok(text) => text,
        Err(error) => {
            report_base(root, &error, problems);
            return None;
        }
    };
    let mut tree = parse_guarded(BASE_FILE, &text, problems);
    for (name, file, environment) in environment_files(root, problems) {
        let origin = environment.origin.clone();
        let named = table_of(name, Value::Table(environment), &origin);
        tree.overlay(table_of(
            "environments".to_owned(),
            Value::Table(named),
            &whole(&file),
        ));
    }
    for (name, value) in variables {
        if let Some(path) = name.strip_prefix(VARIABLE_PREFIX) {
            let parts: Vec<_> = path.split("__").collect();
            set(&mut tree, &parts, value, &whole(name));
        }
    }
    for (key, value) in flags {
        let parts: Vec<_> = key.split('.').collect();
        set(&mut tree, &parts, value, &whole(&format!("flag {key}")));
    }
    Some(tree)
}

fn report_base(root: &Path, error: &io::Error, problems: &mut Problems) {
    let (message, hint) = if error.kind() == io::ErrorKind::NotFound {
        (
            format!("there is no `{BASE_FILE}` in `{}`", root.display()),
            "run `lifeboat init` there, or pass `--project DIR`",
        )
    } else {
        (
            format!(
                "`{BASE_FILE}` in `{}` cannot be read: {error}",
                root.display()
            ),
            "make it a readable UTF-8 file",
        )
    };
    problems.push_file(BASE_FILE, message, Some(hint.to_owned()));
}

/// Reads `environments/*.toml`, sorted by name.
fn environment_files(root: &Path, problems: &mut Problems) -> Vec<(String, String, Table)> {
    let mut found = Vec::new();
    for name in names_in(root, "environments", problems) {
        let file = format!("environments/{name}.toml");
        match std::fs::read_to_string(root.join(&file)) {
            Ok(text) => {
                let table = parse_guarded(&file, &text, problems);
                found.push((name, file, table));
            }
            Err(error) => problems.push_file(&file, format!("cannot be read: {error}"), None),
        }
    }
    found
}

/// Lists the names of the `.toml` files in a folder of the project, sorted.
pub(crate) fn names_in(root: &Path, folder: &str, problems: &mut Problems) -> Vec<String> {
    let entries = match std::fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push_file(folder, format!("cannot be listed: {error}"), None);
            return Vec::new();
        }
    };
    let stem = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let stem = name.strip_suffix(".toml")?;
        // Editors leave hidden copies beside the file they edit.
        (!stem.is_empty() && !stem.starts_with('.')).then(|| stem.to_owned())
    };
    let mut names: Vec<_> = entries.filter_map(stem).collect();
    names.sort();
    names
}

/// Sets one value from outside the files.
///
/// A part means an existing key if they differ in case or in `-` against `_` only, since shells
/// allow neither `-` nor, by custom, small letters in names of variables.
fn set(tree: &mut Table, parts: &[&str], text: &str, origin: &Origin) {
    // What environments say about keys themselves must not win over a variable or flag.
    if let [first, rest @ ..] = parts
        && same_key(first, "keys")
        && let Some(all) = inner(tree, "environments")
    {
        for (_, node) in &mut all.entries {
            if let Value::Table(environment) = &mut node.value
                && let Some(keys) = inner(environment, "keys")
            {
                set_below(keys, rest, text, origin);
            }
        }
    }
    set_below(tree, parts, text, origin);
}

fn set_below(table: &mut Table, parts: &[&str], text: &str, origin: &Origin) {
    let [part, rest @ ..] = parts else { return };
    let existing = table
        .entries
        .iter()
        .find(|(key, _)| same_key(&key.name, part));
    let name = existing.map_or_else(|| part.to_lowercase(), |(key, _)| key.name.clone());
    if rest.is_empty() {
        table.overlay(table_of(name, value_of(text, origin), origin));
        return;
    }
    if inner(table, &name).is_none() {
        let empty = Table {
            entries: Vec::new(),
            origin: origin.clone(),
        };
        table.overlay(table_of(name.clone(), Value::Table(empty), origin));
    }
    if let Some(below) = inner(table, &name) {
        set_below(below, rest, text, origin);
    }
}

fn same_key(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    plain(a) == plain(b)
}

fn inner<'t>(table: &'t mut Table, name: &str) -> Option<&'t mut Table> {
    let (_, node) = table.entries.iter_mut().find(|(key, _)| key.name == name)?;
    match &mut node.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

/// Reads a value from outside as TOML if it is some, else as plain text.
fn value_of(text: &str, origin: &Origin) -> Value {
    let mut problems = Problems::new();
    let table = parse("", &format!("value = {text}"), &mut problems);
    match table.entries.into_iter().next() {
        Some((_, node)) if !problems.has_errors() => relocated(node, origin).value,
        _ => Value::String(text.to_owned()),
    }
}

/// Moves a value and all in it to one place.
fn relocated(node: Node, origin: &Origin) -> Node {
    let value = match node.value {
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| relocated(item, origin))
                .collect(),
        ),
        Value::Table(table) => Value::Table(Table {
            entries: table
                .entries
                .into_iter()
                .map(|(key, node)| (key_of(key.name, origin), relocated(node, origin)))
                .collect(),
            origin: origin.clone(),
        }),
        plain => plain,
    };
    Node {
        value,
        origin: origin.clone(),
    }
}

fn table_of(name: String, value: Value, origin: &Origin) -> Table {
    let node = Node {
        value,
        origin: origin.clone(),
    };
    Table {
        entries: vec![(key_of(name, origin), node)],
        origin: origin.clone(),
    }
}

fn key_of(name: String, origin: &Origin) -> Key {
    Key {
        name,
        origin: origin.clone(),
    }
}

/// Returns the origin that means a whole file, variable or flag.
fn whole(file: &str) -> Origin {
    Origin {
        file: file.into(),
        span: 0..0,
        line: 0,
    }
}
