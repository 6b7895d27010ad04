//! From the merged tree to typed values: schema, required values and ranges.
//!
//! A value that does not do is reported and replaced by its default, so that the checks that
//! follow still see the rest of the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use lifeboat_document::{Key, Reader, Table, Value};
use lifeboat_model::{
    EnvironmentClass, EnvironmentName, Location, Objectives, Problems, RegionName, Rpo, Rto,
    SourceKind, SourceName,
};
use lifeboat_policy::Residency;

use crate::cluster::cluster;
use crate::config::{Config, Environment, NamedSchedule, Region, Source, SourceSpec};
use crate::keys::{KeyRefs, read_keys};
use crate::layers::BASE_FILE;
use crate::paths::absolute;
use crate::place::read_place;
use crate::refresh;
use crate::schedule::Schedules;

/// The version of the files' shape that this build reads.
const VERSION: i64 = 1;

/// What reading needs besides the table at hand.
pub(crate) struct Context<'c> {
    pub(crate) root: &'c Path,
    pub(crate) problems: &'c RefCell<Problems>,
    pub(crate) schedules: &'c Schedules<'c>,
}

impl Context<'_> {
    /// Reads a name that people chose as a key.
    fn name<T: FromStr>(&self, key: &Key) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let wrong = |error: T::Err| {
            let problem = key.origin.error(error.to_string(), None);
            self.problems.borrow_mut().push(problem);
        };
        key.name.parse().map_err(wrong).ok()
    }
}

/// Reads the whole tree.
pub(crate) fn config(tree: Table, context: &Context<'_>) -> Config {
    let reader = Reader::new(&tree, format!("`{BASE_FILE}`"), context.problems);
    match reader.integer("version") {
        Some(VERSION) => {}
        Some(other) => reader.reject(
            "version",
            format!("version {other} of the configuration is not known to this build"),
            Some(format!("this build reads version {VERSION}")),
        ),
        None if tree.get("version").is_none() => {
            reader.missing("version", &format!("write `version = {VERSION}`"));
        }
        None => {}
    }
    let project = reader.required_string("project", "write `project = \"NAME\"`");
    if project.as_ref().is_some_and(|name| name.trim().is_empty()) {
        reader.reject("project", "`project` must not be empty", None);
    }
    let keys_table = keys_table(&reader);
    let keys = keys_table.map_or_else(KeyRefs::default, |table| read_keys(table, context.problems));
    let regions = named(&reader, "region", |key, table| region(key, table, context));
    let environments = named(&reader, "environments", |key, table| {
        environment(key, table, keys_table, context)
    });
    reader.finish();
    Config {
        project: project.unwrap_or_default(),
        root: context.root.to_owned(),
        keys,
        regions,
        environments,
        tree,
    }
}

/// Reads the sub-tables of `name`, whose keys are names.
fn named<N: Ord, T>(
    reader: &Reader<'_>,
    name: &'static str,
    read: impl Fn(&Key, &Table) -> Option<(N, T)>,
) -> BTreeMap<N, T> {
    let tables = reader.named_tables(name);
    tables
        .into_iter()
        .filter_map(|(key, table)| read(key, table))
        .collect()
}

fn region(key: &Key, table: &Table, context: &Context<'_>) -> Option<(RegionName, Region)> {
    let name: Option<RegionName> = context.name(key);
    let reader = Reader::new(table, format!("[region.{}]", key.name), context.problems);
    let url = reader.required_string("url", "a folder, such as `url = \"regions/home\"`");
    let place = url
        .as_ref()
        .and_then(|url| read_place(&reader, url, context));
    let hint = "where its data lies, such as `location = \"eu\"`";
    let location: Option<Location> = required(&reader, table, "location", hint);
    let min_keep = count(&reader, "min_keep", MIN_KEEP_MAX).unwrap_or(0);
    // Without its place there is no telling which keys belong here.
    let place = place?;
    reader.finish();
    let name = name?;
    let region = Region {
        name: name.clone(),
        place,
        url: url?,
        location: location?,
        min_keep,
    };
    Some((name, region))
}

fn environment(
    key: &Key,
    table: &Table,
    base_keys: Option<&Table>,
    context: &Context<'_>,
) -> Option<(EnvironmentName, Environment)> {
    let name: Option<EnvironmentName> = context.name(key);
    let what = format!("environment `{}`", key.name);
    let reader = Reader::new(table, what, context.problems);
    let classes: Vec<_> = EnvironmentClass::ALL
        .iter()
        .map(|class| class.as_str())
        .collect();
    let class = required(
        &reader,
        table,
        "class",
        &format!("one of: {}", classes.join(", ")),
    );
    let home = required(
        &reader,
        table,
        "region",
        "the region its backups go to first",
    );
    let replicas = reader.parsed_list("replicas").unwrap_or_default();
    let residency = Residency::within(reader.parsed_list("residency").unwrap_or_default());
    let objectives = reader
        .table("objectives")
        .map_or_else(Objectives::default, |table| objectives(table, context));
    let schedule = schedule(&reader, context);
    let keys = keys_of(keys_table(&reader), base_keys, context);
    let sources = named(&reader, "source", |key, table| source(key, table, context));
    let refresh = reader
        .table("refresh")
        .and_then(|table| refresh::refresh(table, context));
    reader.finish();
    let name = name?;
    let environment = Environment {
        name: name.clone(),
        class: class?,
        home: home?,
        replicas,
        residency,
        objectives,
        schedule,
        sources,
        refresh,
        keys,
    };
    Some((name, environment))
}

/// Returns the `keys` table. `Reader::table` would repeat what stands there instead: a secret.
fn keys_table<'a>(reader: &Reader<'a>) -> Option<&'a Table> {
    match &reader.node("keys")?.value {
        Value::Table(table) => Some(table),
        _ => {
            let hint = "write `[keys]`, and below it `writer = \"file:PATH\"`".to_owned();
            reader.reject("keys", "`keys` must be a table", Some(hint));
            None
        }
    }
}

/// Lays an environment's keys over the project's.
fn keys_of(own: Option<&Table>, base: Option<&Table>, context: &Context<'_>) -> KeyRefs {
    let mut merged: Option<Table> = base.cloned();
    if let Some(own) = own {
        // For its problems only: those of the project's table were noted already.
        read_keys(own, context.problems);
        merged
            .get_or_insert_with(|| own.clone())
            .overlay(own.clone());
    }
    let unheard = RefCell::default();
    merged.map_or_else(KeyRefs::default, |table| read_keys(&table, &unheard))
}

/// Reads a value that must be there and knows how to read itself.
pub(crate) fn required<T>(
    reader: &Reader<'_>,
    table: &Table,
    name: &'static str,
    hint: &str,
) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    if table.get(name).is_none() {
        reader.required_string(name, hint);
        return None;
    }
    reader.parsed(name)
}

fn objectives(table: &Table, context: &Context<'_>) -> Objectives {
    let reader = Reader::new(table, "[objectives]", context.problems);
    let target = |name: &'static str| {
        let target = reader.duration(name);
        if target == Some(Duration::ZERO) {
            reader.reject(name, format!("`{name}` must be more than nothing"), None);
        }
        target
    };
    let objectives = Objectives {
        rto: target("rto").map(Rto::new),
        rpo: target("rpo").map(Rpo::new),
    };
    reader.finish();
    objectives
}

fn schedule(reader: &Reader<'_>, context: &Context<'_>) -> Option<NamedSchedule> {
    let name = reader.string("schedule")?;
    match context.schedules.get(&name, context.problems) {
        Ok(schedule) => Some(NamedSchedule { name, schedule }),
        Err((message, hint)) => {
            reader.reject("schedule", message, Some(hint));
            None
        }
    }
}

fn source(key: &Key, table: &Table, context: &Context<'_>) -> Option<(SourceName, Source)> {
    let name: Option<SourceName> = context.name(key);
    let reader = Reader::new(table, format!("[source.{}]", key.name), context.problems);
    let kinds = SourceKind::ALL
        .iter()
        .filter(|kind| **kind != SourceKind::PostgresDump);
    let kinds: Vec<_> = kinds.map(|kind| kind.as_str()).collect();
    let hint = format!("one of: {}", kinds.join(", "));
    let mut kind = required(&reader, table, "kind", &hint);
    if kind == Some(SourceKind::PostgresDump) {
        let message = "a source of this kind is made by `lifeboat refresh`, and by nothing else";
        reader.reject("kind", message, Some(hint));
        kind = None;
    }
    // Without its kind there is no telling which keys belong here.
    let (path, spec) = spec(kind?, &reader, context);
    reader.finish();
    let name = name?;
    let source = Source {
        name: name.clone(),
        path,
        spec: spec?,
    };
    Some((name, source))
}

/// Reads where a source lies, and what only its kind has; `None` if what it needs is missing.
fn spec(
    kind: SourceKind,
    reader: &Reader<'_>,
    context: &Context<'_>,
) -> (Option<PathBuf>, Option<SourceSpec>) {
    if kind == SourceKind::Postgres {
        let path = optional_path(reader, "data_directory", context);
        return (path, cluster(reader, context).map(SourceSpec::Postgres));
    }
    let spec = match kind {
        SourceKind::Sqlite => SourceSpec::Sqlite {
            newest_commit: reader.string("newest_commit"),
            fingerprint: reader.boolean("fingerprint").unwrap_or(true),
            checks: reader.strings("checks").unwrap_or_default(),
        },
        _ => SourceSpec::Files {
            include: globs(reader, "include").unwrap_or_else(|| vec!["**".to_owned()]),
            exclude: globs(reader, "exclude").unwrap_or_default(),
        },
    };
    let path = path_of(reader, "path", "the file or folder to back up", context);
    let spec = path.is_some().then_some(spec);
    (path, spec)
}

fn globs(reader: &Reader<'_>, name: &'static str) -> Option<Vec<String>> {
    let patterns = reader.strings(name)?;
    for pattern in &patterns {
        if let Err(error) = globset::Glob::new(pattern) {
            let why = error.kind();
            reader.reject(name, format!("`{pattern}` is not a glob: {why}"), None);
        }
    }
    Some(patterns)
}

/// Reads a number from 0 to `max`.
pub(crate) fn count(reader: &Reader<'_>, name: &'static str, max: u32) -> Option<u32> {
    let number = reader.integer(name)?;
    let sound = u32::try_from(number).ok().filter(|n| *n <= max);
    if sound.is_none() {
        let message = format!("`{name}` must be 0 to {max}, not {number}");
        reader.reject(name, message, None);
    }
    sound
}

pub(crate) fn optional_path(
    reader: &Reader<'_>,
    name: &'static str,
    context: &Context<'_>,
) -> Option<PathBuf> {
    reader.node(name)?;
    path_of(reader, name, "a folder", context)
}

/// A floor above this is one too.
const MIN_KEEP_MAX: u32 = 10_000;

pub(crate) fn path_of(
    reader: &Reader<'_>,
    name: &'static str,
    hint: &str,
    context: &Context<'_>,
) -> Option<PathBuf> {
    let text = reader.required_string(name, hint)?;
    if text.trim().is_empty() {
        reader.reject(
            name,
            format!("`{name}` must not be empty"),
            Some(hint.to_owned()),
        );
        return None;
    }
    Some(absolute(context.root, &text))
}
