//! Looking into a repository: which snapshot is meant, which region is read, and with which key.
//!
//! What is then looked at has a file for each verb. Nothing here writes, not even to the ledger,
//! so it works on a region that can only be read.

mod diff;
mod entries;
mod find;
mod show;
mod stats;

use std::path::Path;
use std::str::FromStr;

use lifeboat_config::{Config, Environment};
use lifeboat_model::{EnvironmentName, InvalidName, RegionName, SourceName};
use lifeboat_repository::{Repository, RepositoryError, Role, Snapshot, SnapshotName};

pub use self::diff::{Change, DiffEntry, DiffSummary, TableChange, diff, table_changes};
pub use self::entries::{EntryView, list_entries};
pub use self::find::{FindSummary, FoundVersion, find};
pub use self::show::{RegionHolding, SkippedItem, SnapshotReport, show};
pub use self::stats::{StatsReport, stats};

use crate::error::OperationError;
use crate::select::RestorePoint;
use crate::session::Session;

/// Which snapshot is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRef {
    /// The one whose id starts so.
    Id(String),
    /// The one of a source at a restore point.
    Of {
        /// The environment.
        environment: EnvironmentName,
        /// The source.
        source: SourceName,
        /// Which of its snapshots.
        point: RestorePoint,
    },
}

impl FromStr for SnapshotRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (names, point) = match text.split_once('@') {
            Some((names, point)) => (names, point.parse()?),
            None => (text, RestorePoint::Latest),
        };
        if let Some((environment, source)) = names.split_once('/') {
            return Ok(Self::Of {
                environment: named(environment)?,
                source: named(source)?,
                point,
            });
        }
        match text.parse() {
            Ok(RestorePoint::Snapshot(prefix)) => Ok(Self::Id(prefix)),
            _ => Err(format!(
                "`{text}` is neither the first characters of a snapshot's id (four or more), nor \
                 ENV/SOURCE for its newest, nor ENV/SOURCE@POINT such as \"prod/shop@2h ago\""
            )),
        }
    }
}

fn named<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: InvalidName| error.to_string())
}

/// Where to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct LookIn<'a> {
    /// A region of the project; by default the home of the environment that is meant.
    pub region: Option<&'a str>,
    /// A region's folder and a key file, when there is no project.
    pub rescue: Option<(&'a Path, &'a Path)>,
}

/// A repository opened for looking into it.
pub struct View {
    /// The region it is read from.
    pub region: RegionName,
    /// The repository.
    pub repository: Repository,
}

impl Session {
    /// Opens the region to look into, for an environment's sake.
    ///
    /// # Errors
    /// Fails if the region cannot be read or no key opens it.
    pub async fn view(
        &self,
        place: &LookIn<'_>,
        environment: Option<&Environment>,
        role: Role,
    ) -> Result<View, OperationError> {
        if let Some((folder, key)) = place.rescue {
            return Ok(self.rescue(folder, key).await?.into_view());
        }
        let environment = match environment {
            Some(environment) => environment,
            None => some_environment(&self.config, place.region)?,
        };
        let region = match place.region {
            Some(name) => &self.config.region(name)?.name,
            None => &environment.home,
        };
        let opened = self.open_region(region).await?;
        Ok(View {
            region: region.clone(),
            repository: self.open_repository(environment, &opened, role).await?,
        })
    }

    /// Opens the region that holds a snapshot, and reads its commit record.
    ///
    /// # Errors
    /// Fails if there is no such snapshot, its record is damaged, or no key opens the repository.
    pub async fn view_of(
        &self,
        place: &LookIn<'_>,
        wanted: &SnapshotRef,
        role: Role,
    ) -> Result<(View, Snapshot), OperationError> {
        let now = self.world.clock.now();
        match wanted {
            SnapshotRef::Id(prefix) if place.rescue.is_none() => {
                self.view_of_id(place, prefix, role).await
            }
            SnapshotRef::Id(prefix) => {
                let view = self.view(place, None, role).await?;
                let snapshot = view.repository.find(prefix).await?;
                Ok((view, snapshot))
            }
            SnapshotRef::Of {
                environment,
                source,
                point,
            } => {
                let known = match place.rescue {
                    Some(_) => None,
                    None => Some(self.environment(environment.as_str())?),
                };
                let view = self.view(place, known, role).await?;
                let repository = &view.repository;
                let found = point.find(repository, environment, source, now).await?;
                Ok((view, found))
            }
        }
    }

    /// Finds an id in the homes of all environments: names can be listed without knowing whose the
    /// snapshot is, and so which key opens it.
    async fn view_of_id(
        &self,
        place: &LookIn<'_>,
        prefix: &str,
        role: Role,
    ) -> Result<(View, Snapshot), OperationError> {
        let mut regions = match place.region {
            Some(name) => vec![&self.config.region(name)?.name],
            None => self.config.environments.values().map(|e| &e.home).collect(),
        };
        regions.sort();
        regions.dedup();
        let (mut found, mut failure) = (Vec::<(SnapshotName, &RegionName)>::new(), None);
        for region in regions {
            match self.names_in(region, prefix).await {
                Ok(names) => found.extend(names.into_iter().map(|name| (name, region))),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        found.dedup_by(|one, other| one.0.id == other.0.id);
        match (found.as_slice(), failure) {
            ([(name, region)], _) => {
                let environment = match self.config.environments.get(&name.environment) {
                    Some(environment) => environment,
                    None => some_environment(&self.config, Some(region.as_str()))?,
                };
                let place = LookIn {
                    region: Some(region.as_str()),
                    ..LookIn::default()
                };
                let view = self.view(&place, Some(environment), role).await?;
                let snapshot = view.repository.snapshot(name).await?;
                Ok((view, snapshot))
            }
            ([], Some(failure)) => Err(failure),
            ([], None) => Err(RepositoryError::NoSnapshot {
                wanted: format!("has an id that begins with `{prefix}`"),
            }
            .into()),
            (several, _) => Err(RepositoryError::AmbiguousSnapshot {
                prefix: prefix.to_owned(),
                count: several.len(),
            }
            .into()),
        }
    }

    async fn names_in(
        &self,
        region: &RegionName,
        prefix: &str,
    ) -> Result<Vec<SnapshotName>, OperationError> {
        let opened = self.open_region(region).await?;
        let mut names = Repository::snapshot_names(&*opened.store, None, None).await?;
        names.retain(|name| name.id.to_string().starts_with(prefix));
        Ok(names)
    }
}

/// Returns an environment that uses the region, or else any: its keys open the repository.
fn some_environment<'a>(
    config: &'a Config,
    region: Option<&str>,
) -> Result<&'a Environment, OperationError> {
    let uses = |environment: &&Environment| {
        region.is_none_or(|name| environment.regions().any(|r| r.as_str() == name))
    };
    let all = || config.environments.values();
    all()
        .find(uses)
        .or(all().next())
        .ok_or_else(|| OperationError::Usage {
            message: "the project has no environment".to_owned(),
            hint: "add one below `environments/`".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_by_id_or_by_source_and_point() {
        let of = |point| {
            Ok(SnapshotRef::Of {
                environment: "prod".parse().unwrap(),
                source: "shop".parse().unwrap(),
                point,
            })
        };
        assert_eq!("AB12".parse(), Ok(SnapshotRef::Id("ab12".to_owned())));
        assert_eq!("prod/shop".parse(), of(RestorePoint::Latest));
        assert_eq!("prod/shop@latest".parse(), of(RestorePoint::Latest));
        let id = RestorePoint::Snapshot("ab12".to_owned());
        assert_eq!("prod/shop@ab12".parse(), of(id));
        let at = "2026-11-21T03:04:05Z";
        let point = RestorePoint::At(at.parse().unwrap());
        assert_eq!(format!("prod/shop@{at}").parse(), of(point));
        for bad in ["prod", "ab", "prod/shop@", "prod/", "latest", "prod@latest"] {
            assert!(bad.parse::<SnapshotRef>().is_err(), "{bad}");
        }
    }
}
