//! `--explain`: what a value is and who said so.

use std::collections::BTreeMap;

use lifeboat_document::{Node, Table, Value, suggest};
use lifeboat_model::{Diagnose, ErrorKind};

use crate::config::{Config, SourceSpec};
use crate::lookup::did_you_mean;
use crate::origins::place;

/// One value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The key, its parts joined by dots.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// `FILE:LINE`, the variable or flag that set it, or `default`.
    pub origin: String,
}

/// No value has the key asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown key `{key}`{}", did_you_mean(near.as_deref()))]
pub struct UnknownKey {
    key: String,
    near: Option<String>,
    known: Vec<String>,
}

impl UnknownKey {
    /// Returns all keys that have a value, sorted.
    pub fn known(&self) -> &[String] {
        &self.known
    }
}

impl Diagnose for UnknownKey {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!("keys with a value: {}", self.known.join(", ")))
    }
}

impl Config {
    /// Explains the value of `key`, such as `environments.prod.objectives.rto`.
    ///
    /// # Errors
    /// Fails with the nearest key and a list of all if there is no such value.
    pub fn explain(&self, key: &str) -> Result<Explanation, UnknownKey> {
        let mut all = self.explain_all();
        if let Some(found) = all.remove(key) {
            return Ok(found);
        }
        let known: Vec<_> = all.into_keys().collect();
        Err(UnknownKey {
            key: key.to_owned(),
            near: suggest(key, known.iter().map(String::as_str)).map(str::to_owned),
            known,
        })
    }

    /// Explains every value, by key.
    pub fn explain_all(&self) -> BTreeMap<String, Explanation> {
        let mut found = BTreeMap::new();
        collect(&self.tree, "", &mut found);
        for (key, value) in self.defaults() {
            found.entry(key.clone()).or_insert_with(|| Explanation {
                key,
                value: value.to_owned(),
                origin: "default".to_owned(),
            });
        }
        found
    }

    /// Lists what holds where nothing is written.
    fn defaults(&self) -> Vec<(String, &'static str)> {
        let mut all = Vec::new();
        for (name, environment) in &self.environments {
            let prefix = format!("environments.{name}");
            all.push((format!("{prefix}.replicas"), "[]"));
            all.push((format!("{prefix}.residency"), "[]"));
            for (source, spec) in environment.sources.iter().map(|(name, s)| (name, &s.spec)) {
                let keys: &[_] = match spec {
                    SourceSpec::Sqlite { .. } => &[("fingerprint", "true"), ("checks", "[]")],
                    SourceSpec::Files { .. } => &[("include", "[\"**\"]"), ("exclude", "[]")],
                    SourceSpec::Postgres(_) => &[
                        ("wal", "\"archived\""),
                        ("point_in_time", "\"7d\""),
                        ("heartbeat", "true"),
                        ("checks", "[]"),
                    ],
                };
                for (key, value) in keys {
                    all.push((format!("{prefix}.source.{source}.{key}"), value));
                }
            }
            if environment.refresh.is_some() {
                all.push((format!("{prefix}.refresh.keep_previous"), "1"));
            }
        }
        all
    }
}

fn collect(table: &Table, prefix: &str, found: &mut BTreeMap<String, Explanation>) {
    for (key, node) in &table.entries {
        let key = format!("{prefix}{}", key.name);
        if let Value::Table(inner) = &node.value {
            collect(inner, &format!("{key}."), found);
            continue;
        }
        let explanation = Explanation {
            key: key.clone(),
            value: toml_text(node),
            origin: place(&node.origin),
        };
        found.insert(key, explanation);
    }
}

/// Writes a value the way a file would.
fn toml_text(node: &Node) -> String {
    match &node.value {
        Value::String(text) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", escaped.replace('\n', "\\n"))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let entry = |(key, node): &(lifeboat_document::Key, Node)| {
                format!("{} = {}", key.name, toml_text(node))
            };
            let entries: Vec<_> = table.entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
