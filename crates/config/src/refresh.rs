//! `[refresh]`: where an environment's masked copy comes from, and what it replaces.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_document::{Reader, Table, Value};

use crate::cluster::{holds_password, password};
use crate::config::{DatabaseTarget, FolderTarget, ReadFrom, Refresh, RefreshTarget, SourceId};
use crate::paths::absolute;
use crate::read::{Context, count, path_of, required};

/// More earlier copies than this beside a database is a slip of the keyboard.
const MAX_PREVIOUS: u32 = 100;
/// The keys that say what is replaced.
const TARGETS: [&str; 3] = ["target", "folder", "database"];
/// Sessions that read or load at the same time, unless somebody says otherwise.
const JOBS: u32 = 2;
/// More sessions than this wait for each other.
const MAX_JOBS: u32 = 64;

/// Reads the table; `None` if what it needs is missing.
pub(crate) fn refresh(table: &Table, context: &Context<'_>) -> Option<Refresh> {
    let reader = Reader::new(table, "[refresh]", context.problems);
    let from: Option<SourceId> = required(
        &reader,
        table,
        "from",
        "the source to mask, such as `from = \"prod/shop\"`",
    );
    let rules = path_of(&reader, "rules", "the masking rules, a TOML file", context);
    let target = target(&reader, context);
    let keep_previous = count(&reader, "keep_previous", MAX_PREVIOUS).unwrap_or(1);
    reader.finish();
    Some(Refresh {
        from: from?,
        rules: rules?,
        target: target?,
        keep_previous,
    })
}

fn target(reader: &Reader<'_>, context: &Context<'_>) -> Option<RefreshTarget> {
    let mut written = TARGETS.iter().filter(|key| reader.node(key).is_some());
    let (first, second) = (written.next(), written.next());
    if let (Some(first), Some(second)) = (first, second) {
        let hint = "`target` is a SQLite file, `folder` one of CSV and JSON Lines, `database` a \
                    connection string: keep one of them";
        let message = format!("`{first}` and `{second}` both say what is replaced");
        reader.reject(second, message, Some(hint.to_owned()));
    }
    match first {
        Some(&"database") => database(reader, context),
        Some(&"folder") => {
            let what = "the folder of CSV and JSON Lines that is replaced";
            let path = path_of(reader, "folder", what, context)?;
            let null = reader.string("null").unwrap_or_default();
            Some(RefreshTarget::Folder(FolderTarget { path, null }))
        }
        _ => {
            let what = "the SQLite database that is replaced; for PostgreSQL, write `database`, for \
                        CSV `folder`";
            path_of(reader, "target", what, context).map(RefreshTarget::File)
        }
    }
}

fn database(reader: &Reader<'_>, context: &Context<'_>) -> Option<RefreshTarget> {
    let url = reader.string("database")?;
    if holds_password(&url) {
        let hint = "take it out, and write `password = \"file:PATH\"`; if it was real, change it";
        let message = "`database` holds a password";
        reader.reject("database", message, Some(hint.to_owned()));
        return None;
    }
    let read = read_from(reader);
    Some(RefreshTarget::Database(DatabaseTarget {
        url,
        password: password(reader),
        owner: reader.string("owner"),
        adopt: reader.boolean("adopt").unwrap_or(false),
        read,
        jobs: jobs(reader),
        subset: subset(reader, read),
        links: links(reader),
        keep_comments: reader.boolean("keep_comments").unwrap_or(false),
        migrate: reader.string("migrate"),
        sql: files(reader, context),
        configure: reader.string("configure"),
        checks: reader.strings("checks").unwrap_or_default(),
    }))
}

fn read_from(reader: &Reader<'_>) -> ReadFrom {
    match reader.string("read").as_deref() {
        None | Some("snapshot") => ReadFrom::Snapshot,
        Some("server") => ReadFrom::Server,
        Some(other) => {
            let message = format!("`{other}` is nothing that can be read");
            let hint = "one of: snapshot, server".to_owned();
            reader.reject("read", message, Some(hint));
            ReadFrom::Snapshot
        }
    }
}

/// Reads a condition for each table.
fn subset(reader: &Reader<'_>, read: ReadFrom) -> BTreeMap<String, String> {
    let Some(table) = reader.table("subset") else {
        return BTreeMap::new();
    };
    if read == ReadFrom::Server {
        let hint = "write `read = \"snapshot\"`, or leave `subset` out".to_owned();
        let message = "which rows stay is worked out in a scratch cluster, never on the server";
        reader.reject("subset", message, Some(hint));
    }
    let mut subset = BTreeMap::new();
    for (key, node) in &table.entries {
        match &node.value {
            Value::String(condition) => {
                subset.insert(key.name.clone(), condition.clone());
            }
            _ => {
                let message = format!("`subset` of `{}` is no condition", key.name);
                let hint = "write `\"public.customers\" = \"id % 100 = 0\"`".to_owned();
                reader.reject("subset", message, Some(hint));
            }
        }
    }
    subset
}

/// Reads references such as `public.audit.customer -> public.customers.id`.
fn links(reader: &Reader<'_>) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for link in reader.strings("links").unwrap_or_default() {
        match link.split_once("->") {
            Some((from, to)) => links.push((from.trim().to_owned(), to.trim().to_owned())),
            None => {
                let message = format!("`{link}` is no link");
                let hint = "write `public.audit.customer -> public.customers.id`".to_owned();
                reader.reject("links", message, Some(hint));
            }
        }
    }
    links
}

fn jobs(reader: &Reader<'_>) -> u32 {
    let jobs = count(reader, "jobs", MAX_JOBS).unwrap_or(JOBS);
    if jobs == 0 {
        reader.reject("jobs", "`jobs` must be at least 1", None);
    }
    jobs.max(1)
}

fn files(reader: &Reader<'_>, context: &Context<'_>) -> Vec<PathBuf> {
    let files = reader.strings("sql").unwrap_or_default();
    files
        .iter()
        .map(|file| absolute(context.root, file))
        .collect()
}
