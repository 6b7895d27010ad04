//! The listing of a folder: regular files whose path is a key, and nothing else.

use std::io;

use rustix::fs::Dir;

use super::root::{Found, Root, is_missing};
use crate::key::ObjectKey;
use crate::store::ObjectMeta;

/// Lists the objects under `prefix`, which is empty or ends with `/`, sorted by key.
pub(super) fn list(root: &Root, prefix: &str) -> io::Result<Vec<ObjectMeta>> {
    let mut found = Vec::new();
    let mut prefixes = vec![prefix.to_owned()];
    while let Some(prefix) = prefixes.pop() {
        list_folder(root, &prefix, &mut found, &mut prefixes)?;
    }
    // An empty answer from a folder that is gone would read as "nothing is stored".
    if root.is_gone() {
        return Err(io::ErrorKind::NotFound.into());
    }
    found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn list_folder(
    root: &Root,
    prefix: &str,
    found: &mut Vec<ObjectMeta>,
    prefixes: &mut Vec<String>,
) -> io::Result<()> {
    let folder = match root.open_folder(prefix.trim_end_matches('/')) {
        Ok(folder) => folder,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        // This leaves out `.`, `..`, `tmp` and whatever no put can have made.
        let Ok(key) = ObjectKey::new(format!("{prefix}{name}")) else {
            continue;
        };
        match root.find(key.as_str())? {
            Found::Object(size) => found.push(ObjectMeta { key, size }),
            Found::Folder => prefixes.push(format!("{key}/")),
            Found::Missing | Found::Other => {}
        }
    }
    Ok(())
}
