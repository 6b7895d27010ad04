//! Dotted paths through the merged tree: where a value stands.

use lifeboat_document::{Node, Origin, Table, Value};

/// Returns the value at `path`, its parts in order.
pub(crate) fn find<'t>(tree: &'t Table, path: &[&str]) -> Option<&'t Node> {
    let (last, above) = path.split_last()?;
    let mut table = tree;
    for part in above {
        match &table.get(part)?.1.value {
            Value::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.get(last).map(|(_, node)| node)
}

/// Returns where the value at `path` stands, or else the nearest thing above it.
pub(crate) fn origin(tree: &Table, path: &[&str]) -> Origin {
    (1..=path.len())
        .rev()
        .find_map(|len| find(tree, &path[..len]))
        .map_or_else(|| tree.origin.clone(), |node| node.origin.clone())
}

/// Returns where the item that reads `text` stands in the list at `path`, or else the list.
pub(crate) fn item_origin(tree: &Table, path: &[&str], text: &str) -> Origin {
    let items = match find(tree, path).map(|node| &node.value) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let reads = |item: &&Node| matches!(&item.value, Value::String(found) if found == text);
    items
        .iter()
        .find(reads)
        .map_or_else(|| origin(tree, path), |item| item.origin.clone())
}

/// Writes a place for people: `environments/prod.toml:4`.
pub(crate) fn place(origin: &Origin) -> String {
    match origin.line {
        0 => origin.file.to_string(),
        line => format!("{}:{line}", origin.file),
    }
}
