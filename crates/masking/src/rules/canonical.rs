//! The canonical form of a rule file, from which its hash is taken.

use lifeboat_document::{Table, Value};

/// Returns the hex BLAKE3 of a parsed table: keys sorted, every value tagged and length-prefixed.
pub(super) fn hash(table: &Table) -> String {
    let mut hasher = blake3::Hasher::new();
    feed_table(&mut hasher, table);
    hasher.finalize().to_hex().to_string()
}

fn feed_table(hasher: &mut blake3::Hasher, table: &Table) {
    let mut entries: Vec<_> = table.entries.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    feed(hasher, b't', &(entries.len() as u64).to_le_bytes());
    for (key, node) in entries {
        feed(hasher, b'k', key.name.as_bytes());
        feed_value(hasher, &node.value);
    }
}

fn feed_value(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::String(text) => feed(hasher, b's', text.as_bytes()),
        Value::Integer(number) => feed(hasher, b'i', &number.to_le_bytes()),
        Value::Float(number) => feed(hasher, b'f', &number.to_bits().to_le_bytes()),
        Value::Boolean(value) => feed(hasher, b'b', &[u8::from(*value)]),
        Value::Datetime(text) => feed(hasher, b'd', text.as_bytes()),
        Value::Array(items) => {
            feed(hasher, b'a', &(items.len() as u64).to_le_bytes());
            for item in items {
                feed_value(hasher, &item.value);
            }
        }
        Value::Table(table) => feed_table(hasher, table),
    }
}

fn feed(hasher: &mut blake3::Hasher, tag: u8, bytes: &[u8]) {
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
