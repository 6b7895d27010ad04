//! Choosing the snapshot to restore.

use lifeboat_model::{EnvironmentName, Lsn, SourceKind, SourceName};
use lifeboat_repository::{Repository, RepositoryError, Snapshot, SnapshotName};

use crate::cluster::{ClusterRestore, Recovery, choose_recovery};
use crate::error::OperationError;

/// Which state a restore goes back to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RestorePoint {
    /// The newest snapshot.
    #[default]
    Latest,
    /// The newest snapshot that is not later than this.
    At(jiff::Timestamp),
    /// The newest snapshot that is at least so old.
    Ago(std::time::Duration),
    /// The snapshot whose id starts so.
    Snapshot(String),
    /// Of a cluster: the earliest moment that its newest snapshot can be brought to.
    Immediate,
    /// Of a cluster: this position of its log.
    Lsn(Lsn),
    /// Of a cluster: the end of this transaction.
    Xid(u64),
    /// Of a cluster: the restore point that was given this name.
    Named(String),
}

impl RestorePoint {
    /// Reports whether only the log of a cluster knows this point.
    pub(crate) fn is_of_a_log(&self) -> bool {
        matches!(
            self,
            Self::Immediate | Self::Lsn(_) | Self::Xid(_) | Self::Named(_)
        )
    }
}

impl std::str::FromStr for RestorePoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_id = text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let ago = text
            .strip_suffix("ago")
            .map(lifeboat_document::parse_duration);
        if text == "latest" {
            Ok(Self::Latest)
        } else if text == "immediate" {
            Ok(Self::Immediate)
        } else if let Some(Ok(xid)) = text.strip_prefix("xid:").map(str::parse) {
            Ok(Self::Xid(xid))
        } else if let Some(name) = text.strip_prefix("name:").filter(|name| !name.is_empty()) {
            Ok(Self::Named(name.to_owned()))
        } else if let Ok(lsn) = text.parse() {
            Ok(Self::Lsn(lsn))
        } else if let Some(Ok(duration)) = ago {
            Ok(Self::Ago(duration))
        } else if let Some(instant) = parse_instant(text) {
            Ok(Self::At(instant))
        } else if is_id {
            Ok(Self::Snapshot(text.to_ascii_lowercase()))
        } else {
            Err(format!(
                "`{text}` is neither `latest`, nor an instant such as 2026-11-21T03:04:05Z or \
                 \"2026-11-21 03:04\" (this host's time), nor \"2h ago\", nor the first characters of \
                 a snapshot's id; nor, of a PostgreSQL cluster, `immediate`, an LSN such as \
                 `0/16B3740`, `xid:NUMBER` or `name:RESTORE-POINT`"
            ))
        }
    }
}

/// Reads an instant, or a local date and time in this host's time zone. A date alone means its end,
/// so that its last snapshot is found.
fn parse_instant(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(instant) = text.parse() {
        return Some(instant);
    }
    let local = match text.parse::<jiff::civil::Date>() {
        Ok(date) if text.len() == 10 => date.at(23, 59, 59, 999_999_999),
        _ => text.parse().ok()?,
    };
    Some(
        local
            .to_zoned(jiff::tz::TimeZone::system())
            .ok()?
            .timestamp(),
    )
}

impl RestorePoint {
    /// Chooses the snapshot of a source and, of a cluster, how far its log is replayed.
    pub(crate) async fn choose(
        &self,
        repository: &Repository,
        (environment, source): (&EnvironmentName, &SourceName),
        cluster: &ClusterRestore,
        now: jiff::Timestamp,
    ) -> Result<(Snapshot, Option<Recovery>), OperationError> {
        if is_cluster(repository, environment, source).await? {
            let of = (environment, source);
            let (snapshot, recovery) = choose_recovery(repository, of, self, cluster, now).await?;
            return Ok((snapshot, Some(recovery)));
        }
        let found = self.find(repository, environment, source, now);
        Ok((found.await?, None))
    }

    /// Finds the snapshot of a source. A point before every snapshot is an error, never "the oldest".
    ///
    /// A damaged commit record is passed over with a warning, unless it was named by its id.
    pub(crate) async fn find(
        &self,
        repository: &Repository,
        environment: &EnvironmentName,
        source: &SourceName,
        now: jiff::Timestamp,
    ) -> Result<Snapshot, OperationError> {
        let wanted =
            |what: String| OperationError::Repository(RepositoryError::NoSnapshot { wanted: what });
        if let Self::Snapshot(prefix) = self {
            let snapshot = repository.find(prefix).await?;
            if snapshot.environment != *environment || snapshot.source != *source {
                return Err(OperationError::Usage {
                    message: format!(
                        "snapshot `{}` is of `{}/{}`, not of `{}/{source}`",
                        snapshot.id.short(),
                        snapshot.environment,
                        snapshot.source,
                        environment,
                    ),
                    hint: format!("`lifeboat snapshots {environment}` lists what fits"),
                });
            }
            return Ok(snapshot);
        }
        if self.is_of_a_log() {
            return Err(OperationError::Usage {
                message: format!("`{environment}/{source}` has no log to look for that point in"),
                hint: "name an instant or a snapshot".to_owned(),
            });
        }
        let names =
            Repository::snapshot_names(&**repository.store(), Some(environment), Some(source))
                .await?;
        let newest = names.iter().map(|name| name.instant).max();
        let oldest = names.iter().map(|name| name.instant).min();
        let store = repository.store().describe();
        let of = format!("of `{environment}/{source}` in `{store}`");
        let (Some(newest), Some(oldest)) = (newest, oldest) else {
            return Err(wanted(format!("{of} exists")));
        };
        let limit = match self {
            Self::At(instant) => *instant,
            Self::Ago(age) => now.saturating_sub(*age).unwrap_or(oldest),
            _ => newest,
        };
        let mut candidates: Vec<_> = names.iter().filter(|name| name.instant <= limit).collect();
        if candidates.is_empty() {
            return Err(wanted(format!(
                "{of} is as old as {limit}; they begin at {oldest}"
            )));
        }
        candidates.sort_by_key(|name| std::cmp::Reverse((name.instant, name.id)));
        newest_readable(repository, &candidates).await
    }
}

/// Reports whether the newest snapshot of a source that can be read is of a cluster.
async fn is_cluster(
    repository: &Repository,
    environment: &EnvironmentName,
    source: &SourceName,
) -> Result<bool, OperationError> {
    let store = &**repository.store();
    let mut names = Repository::snapshot_names(store, Some(environment), Some(source)).await?;
    names.sort_by_key(|name| std::cmp::Reverse((name.instant, name.id)));
    for name in &names {
        if let Some(Ok(snapshot)) = repository.readable(name).await? {
            return Ok(snapshot.source_kind == SourceKind::Postgres);
        }
    }
    Ok(false)
}

/// Reads the first commit record that can be read, newest first, and says which it had to pass over:
/// a state that is a little older is worth more than none.
async fn newest_readable(
    repository: &Repository,
    candidates: &[&SnapshotName],
) -> Result<Snapshot, OperationError> {
    let mut passed_over = None;
    for name in candidates {
        match repository.readable(name).await? {
            Some(Ok(snapshot)) => return Ok(snapshot),
            Some(Err(what)) => {
                tracing::warn!(
                    "the commit record of snapshot {} (state of {}) is damaged: {what}; an older one \
                     is taken. Another region may hold a good copy: try `--region`",
                    name.id.short(),
                    name.instant,
                );
                let error = RepositoryError::corrupt(&name.key(), what);
                passed_over = passed_over.or(Some(error));
            }
            None => {}
        }
    }
    let gone = || RepositoryError::NoSnapshot {
        wanted: "is left: they were removed while one was looked for".to_owned(),
    };
    Err(passed_over.unwrap_or_else(gone).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_told_apart() {
        assert_eq!("latest".parse(), Ok(RestorePoint::Latest));
        let at = "2026-11-21T03:04:05Z";
        assert_eq!(at.parse(), Ok(RestorePoint::At(at.parse().unwrap())));
        assert_eq!(
            "ab12cd".parse(),
            Ok(RestorePoint::Snapshot("ab12cd".to_owned()))
        );
        assert!("yesterday".parse::<RestorePoint>().is_err());
        assert!(matches!(
            "2026-11-21 03:04".parse(),
            Ok(RestorePoint::At(_))
        ));
        assert!(matches!("2026-11-21".parse(), Ok(RestorePoint::At(_))));
        assert_eq!(
            "0/16B3740".parse(),
            Ok(RestorePoint::Lsn("0/16B3740".parse().unwrap()))
        );
        assert_eq!("xid:742".parse(), Ok(RestorePoint::Xid(742)));
        let named = RestorePoint::Named("before release".to_owned());
        assert_eq!("name:before release".parse(), Ok(named));
        assert!("xid:many".parse::<RestorePoint>().is_err());
        let two_hours = std::time::Duration::from_secs(7200);
        assert_eq!("2h ago".parse(), Ok(RestorePoint::Ago(two_hours)));
    }
}
