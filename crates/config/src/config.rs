//! The configuration as the rest of Lifeboat sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use lifeboat_document::{Origin, Table};
use lifeboat_model::{
    EnvironmentClass, EnvironmentName, Location, Objectives, RegionName, SourceKind, SourceName,
};
use lifeboat_policy::{Keep, Residency, Schedule};

use crate::keys::KeyRefs;
use crate::lookup::UnknownName;
use crate::place::Place;

/// A project's whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the project is called.
    pub project: String,
    /// The project's folder, absolute; relative paths in the files start here.
    pub root: PathBuf,
    /// Where the keys are to be had, unless an environment says otherwise.
    pub keys: KeyRefs,
    /// The regions that environments may use.
    pub regions: BTreeMap<RegionName, Region>,
    /// The environments.
    pub environments: BTreeMap<EnvironmentName, Environment>,
    /// All layers merged, each value with its place: for checks and `--explain`.
    pub(crate) tree: Table,
}

/// One store that holds a whole repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: RegionName,
    /// Its address as written.
    pub url: String,
    /// What the address means.
    pub place: Place,
    /// The jurisdiction it is declared to lie in.
    pub location: Location,
    /// The fewest snapshots of each source that a prune leaves here, whatever schedules say.
    pub min_keep: u32,
}

impl Region {
    /// Makes a region for an address alone, for work without a project.
    ///
    /// # Errors
    /// Fails with what is wrong with the address.
    pub fn of_url(url: &str, root: &Path) -> Result<Self, String> {
        Ok(Self {
            name: "unnamed".parse().expect("it is a name"),
            place: Place::of_url(url, root)?,
            url: url.to_owned(),
            location: "unknown".parse().expect("it is a name"),
            min_keep: 0,
        })
    }

    /// Returns the region's folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        self.place.folder()
    }

    /// Tells whether a path is the region's folder or lies in it.
    pub fn holds(&self, path: &Path) -> bool {
        self.folder().is_some_and(|folder| path.starts_with(folder))
    }
}

/// One environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// What it is for; decides which rules hold.
    pub class: EnvironmentClass,
    /// The region that its backups go to first.
    pub home: RegionName,
    /// The regions that they are copied to.
    pub replicas: Vec<RegionName>,
    /// Where its data may lie.
    pub residency: Residency,
    /// How quick a restore must be and how little may be lost.
    pub objectives: Objectives,
    /// When its jobs run.
    pub schedule: Option<NamedSchedule>,
    /// What is backed up.
    pub sources: BTreeMap<SourceName, Source>,
    /// Where its data comes from, if it is a masked copy.
    pub refresh: Option<Refresh>,
    /// Where its keys are to be had: the project's, or its own where it names them.
    pub keys: KeyRefs,
}

/// A schedule with the name that environments use for it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedSchedule {
    /// The name: `schedules/NAME.toml`.
    pub name: String,
    /// The jobs.
    pub schedule: Schedule,
}

/// One thing that is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// The file or folder, absolute; of a cluster, its data directory, if this host has it.
    pub path: Option<PathBuf>,
    /// What kind of thing it is, with what only that kind has.
    pub spec: SourceSpec,
}

/// What is particular to one kind of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// One SQLite database.
    Sqlite {
        /// SQL that yields when the newest transaction was committed; proves the RPO.
        newest_commit: Option<String>,
        /// Whether each backup records row counts and checksums for drills to compare with.
        fingerprint: bool,
        /// SQL that must yield 1 in a restored copy.
        checks: Vec<String>,
    },
    /// A folder.
    Files {
        /// Globs of what is backed up, relative to the folder.
        include: Vec<String>,
        /// Globs of what is left out of it.
        exclude: Vec<String>,
    },
    /// A PostgreSQL cluster.
    Postgres(Cluster),
}

/// A PostgreSQL cluster, as a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// How to connect to it: a connection string without a password.
    pub url: String,
    /// Where the password is to be had, not yet fetched; without it, as for any client of PostgreSQL.
    pub password: Option<String>,
    /// The folder of its server programs, where restores and drills start it.
    pub programs: Option<PathBuf>,
    /// Where the log that a snapshot needs is kept.
    pub wal: WalKeeping,
    /// How far back any moment can be restored; of what is older, only the moments of snapshots.
    pub point_in_time: Duration,
    /// Whether a row is written now and then, so that a drill can prove how little was lost.
    pub heartbeat: bool,
    /// The replication slot of the receiver; `None` if it is to have none.
    pub slot: Option<ReplicationSlot>,
    /// SQL that must yield true in a restored cluster.
    pub checks: Vec<String>,
}

/// Where the log that a snapshot of a cluster needs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalKeeping {
    /// In the repository's archive, by `wal push` or `wal receive`: any moment can be restored.
    Archived,
    /// In each snapshot: only the moments of snapshots can be restored, and nothing has to be set up.
    InSnapshot,
}

/// A physical replication slot, which makes the server keep what the receiver has not got yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSlot {
    /// The name of one that stays; without a name, each connection has one that ends with it.
    pub name: Option<String>,
    /// When the server keeps more than this for it, bytes, the slot is given up: better a gap than a
    /// full disk.
    pub keep_bytes_max: u64,
}

impl SourceSpec {
    /// Returns the kind.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Sqlite { .. } => SourceKind::Sqlite,
            Self::Files { .. } => SourceKind::Files,
            Self::Postgres(_) => SourceKind::Postgres,
        }
    }
}

/// How an environment gets a masked copy of another one's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The source whose snapshots are masked.
    pub from: SourceId,
    /// The masking rules, absolute.
    pub rules: PathBuf,
    /// What the masked copy replaces.
    pub target: RefreshTarget,
    /// How many earlier copies stay beside it.
    pub keep_previous: u32,
}

/// What a masked copy replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshTarget {
    /// A SQLite file, absolute.
    File(PathBuf),
    /// A folder of CSV and JSON Lines.
    Folder(FolderTarget),
    /// A PostgreSQL database.
    Database(DatabaseTarget),
}

/// A folder of CSV and JSON Lines that a masked copy replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderTarget {
    /// The folder, absolute.
    pub path: PathBuf,
    /// What stands for NULL in CSV where it has no quotes.
    pub null: String,
}

/// A PostgreSQL database that a masked copy replaces, and what is done to the copy before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTarget {
    /// How the server is reached, and which of its databases is replaced.
    pub url: String,
    /// Where the password is to be had, not yet fetched.
    pub password: Option<String>,
    /// The role that owns the new database; by default whoever connects.
    pub owner: Option<String>,
    /// Whether a database that no refresh has made may be replaced.
    pub adopt: bool,
    /// What is read.
    pub read: ReadFrom,
    /// How many sessions read and load at the same time.
    pub jobs: u32,
    /// The rows that the copy begins with, by table; empty copies everything.
    pub subset: BTreeMap<String, String>,
    /// References that no foreign key declares, for a subset: from column, to column.
    pub links: Vec<(String, String)>,
    /// Whether comments of tables and columns are copied.
    pub keep_comments: bool,
    /// A command that migrates the new database's schema.
    pub migrate: Option<String>,
    /// Files of SQL that configure the new database, absolute.
    pub sql: Vec<PathBuf>,
    /// A command that configures the new database.
    pub configure: Option<String>,
    /// SQL that must yield true in the new database before it is published.
    pub checks: Vec<String>,
}

/// What a refresh of a PostgreSQL database reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The newest snapshot, started as a scratch cluster: production feels nothing, and each refresh
    /// shows that a backup can be restored.
    Snapshot,
    /// The server itself, or a standby, as the source's `url` says.
    Server,
}

impl Refresh {
    /// Returns the file or folder that is replaced, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.target {
            RefreshTarget::File(path) => Some(path),
            RefreshTarget::Folder(folder) => Some(&folder.path),
            RefreshTarget::Database(_) => None,
        }
    }
}

/// A source of an environment: `prod/shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId {
    /// The environment.
    pub environment: EnvironmentName,
    /// Its source.
    pub source: SourceName,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.source)
    }
}

impl FromStr for SourceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (environment, source) = text.split_once('/')?;
            Some(Self {
                environment: environment.parse().ok()?,
                source: source.parse().ok()?,
            })
        };
        parse()
            .ok_or_else(|| format!("`{text}` does not name a source: write `ENVIRONMENT/SOURCE`"))
    }
}

impl Config {
    /// Makes a configuration that names nothing, for work on a store that only a path names.
    pub fn without_project(root: PathBuf) -> Self {
        let origin = Origin {
            file: "no project".into(),
            span: 0..0,
            line: 0,
        };
        Self {
            project: "none".to_owned(),
            root,
            keys: KeyRefs::default(),
            regions: BTreeMap::new(),
            environments: BTreeMap::new(),
            tree: Table {
                entries: Vec::new(),
                origin,
            },
        }
    }

    /// Returns the environment called `name`.
    ///
    /// # Errors
    /// Fails with the nearest known name if there is none.
    pub fn environment(&self, name: &str) -> Result<&Environment, UnknownName> {
        let found = self
            .environments
            .values()
            .find(|known| known.name.as_str() == name);
        found.ok_or_else(|| {
            let known = self.environments.keys().map(EnvironmentName::as_str);
            UnknownName::new("environment", name, known)
        })
    }

    /// Returns the region called `name`.
    ///
    /// # Errors
    /// Fails with the nearest known name if there is none.
    pub fn region(&self, name: &str) -> Result<&Region, UnknownName> {
        let found = self
            .regions
            .values()
            .find(|known| known.name.as_str() == name);
        found.ok_or_else(|| {
            let known = self.regions.keys().map(RegionName::as_str);
            UnknownName::new("region", name, known)
        })
    }

    /// Returns the source that `id` names, with its environment.
    ///
    /// # Errors
    /// Fails with the nearest known name if the environment or the source is not there.
    pub fn source(&self, id: &SourceId) -> Result<(&Environment, &Source), UnknownName> {
        let environment = self.environment(id.environment.as_str())?;
        Ok((environment, environment.source(id.source.as_str())?))
    }
}

impl Source {
    /// Returns what this source is about, for people: a path, or how a cluster is connected to.
    pub fn place(&self) -> String {
        match (&self.path, &self.spec) {
            (Some(path), _) => path.display().to_string(),
            (None, SourceSpec::Postgres(cluster)) => cluster.url.clone(),
            (None, _) => unreachable!("files and databases in files have a path"),
        }
    }

    /// Returns the cluster, if it is one.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.spec {
            SourceSpec::Postgres(cluster) => Some(cluster),
            _ => None,
        }
    }
}

impl Environment {
    /// Returns the source called `name`.
    ///
    /// # Errors
    /// Fails with the nearest known name if there is none.
    pub fn source(&self, name: &str) -> Result<&Source, UnknownName> {
        let found = self
            .sources
            .values()
            .find(|known| known.name.as_str() == name);
        found.ok_or_else(|| {
            let known = self.sources.keys().map(SourceName::as_str);
            UnknownName::new("source", name, known)
        })
    }

    /// Returns how much history its schedule's jobs ask to keep; without any, all is kept.
    pub fn retention(&self) -> Keep {
        let named = self.schedule.as_ref();
        named.map_or_else(Keep::default, |named| named.schedule.retention())
    }

    /// Returns how much history a region keeps of it: as scheduled, and never below the region's own
    /// floor.
    pub fn retention_in(&self, region: &Region) -> Keep {
        let keep = self.retention();
        Keep {
            min_keep: keep.min_keep.max(region.min_keep),
            ..keep
        }
    }

    /// Returns the zone whose calendar its retention counts by.
    pub fn zone(&self) -> TimeZone {
        let named = self.schedule.as_ref();
        named.map_or(TimeZone::UTC, |named| named.schedule.zone.clone())
    }

    /// Returns every region that holds this environment's backups, home first.
    pub fn regions(&self) -> impl Iterator<Item = &RegionName> {
        std::iter::once(&self.home).chain(&self.replicas)
    }
}
