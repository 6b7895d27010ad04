//! Choosing the snapshot to restore.

use lifeboat_config::Environment;
use lifeboat_model::SourceName;
use lifeboat_repository::{Repository, RepositoryError, Snapshot};

use crate::error::OperationError;

/// Which state a restore goes back to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RestorePoint {
    /// The newest snapshot.
    #[default]
    Latest,
    /// The newest snapshot that is not later than this.
    At(jiff::Timestamp),
    /// The snapshot whose id starts so.
    Snapshot(String),
}

impl std::str::FromStr for RestorePoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_id = text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text {
            "latest" => Ok(Self::Latest),
            _ => match text.parse() {
                Ok(instant) => Ok(Self::At(instant)),
                Err(_) if is_id => Ok(Self::Snapshot(text.to_ascii_lowercase())),
                Err(_) => Err(format!(
                    "`{text}` is neither `latest`, nor an instant such as 2026-11-21T03:04:05Z, nor \
                     the first characters of a snapshot's id"
                )),
            },
        }
    }
}

impl RestorePoint {
    /// Finds the snapshot of a source. A point before every snapshot is an error, never "the oldest".
    pub(crate) async fn find(
        &self,
        repository: &Repository,
        environment: &Environment,
        source: &SourceName,
    ) -> Result<Snapshot, OperationError> {
        let wanted =
            |what: String| OperationError::Repository(RepositoryError::NoSnapshot { wanted: what });
        if let Self::Snapshot(prefix) = self {
            let snapshot = repository.find(prefix).await?;
            if snapshot.environment != environment.name || snapshot.source != *source {
                return Err(OperationError::Usage {
                    message: format!(
                        "snapshot `{}` is of `{}/{}`, not of `{}/{source}`",
                        snapshot.id.short(),
                        snapshot.environment,
                        snapshot.source,
                        environment.name,
                    ),
                    hint: format!("`lifeboat snapshots {}` lists what fits", environment.name),
                });
            }
            return Ok(snapshot);
        }
        let names = Repository::snapshot_names(
            &**repository.store(),
            Some(&environment.name),
            Some(source),
        )
        .await?;
        let newest = names.iter().map(|name| name.instant).max();
        let oldest = names.iter().map(|name| name.instant).min();
        let of = format!("of `{}/{source}`", environment.name);
        let (Some(newest), Some(oldest)) = (newest, oldest) else {
            return Err(wanted(format!("{of} exists")));
        };
        let limit = match self {
            Self::At(instant) => *instant,
            _ => newest,
        };
        let best = names
            .iter()
            .filter(|name| name.instant <= limit)
            .max_by_key(|name| (name.instant, name.id));
        match best {
            Some(name) => Ok(repository.snapshot(name).await?),
            None => Err(wanted(format!(
                "{of} is as old as {limit}; they begin at {oldest}"
            ))),
        }
    }
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
        assert!(
            "2026-11-21 03:04".parse::<RestorePoint>().is_err(),
            "no time zone was given"
        );
    }
}
