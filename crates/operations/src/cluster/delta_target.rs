//! Which folders a delta restore of a cluster must leave alone: it removes what the snapshot lacks.

use std::fs;
use std::io;
use std::path::Path;

use lifeboat_model::ErrorKind;
use lifeboat_source_postgres::{ControlFile, Tablespace};

use super::facts::ClusterFacts;
use crate::error::OperationError;
use crate::staging::{INSIDE, LOST_AND_FOUND, MARK};

/// Refuses a folder that is no older state of the cluster, and a tablespace's folder that holds what
/// is not this cluster's: after an upgrade, the new one's files lie beside the old one's.
pub(super) fn refuse_others(
    data_directory: &Path,
    tablespaces: &[Tablespace],
    facts: &ClusterFacts,
) -> Result<(), OperationError> {
    if let Some(what) = what_else(data_directory, facts)? {
        return Err(refused(data_directory, &what));
    }
    let own = format!("PG_{}_{}", facts.version / 10_000, facts.catalog_version);
    for Tablespace { location, .. } in tablespaces {
        let others = names_in(location)?;
        if let Some(other) = others.iter().find(|name| **name != own) {
            return Err(refused(location, &format!("it holds `{other}`, too")));
        }
    }
    Ok(())
}

/// Says what a folder is, if that is anything but a state of the cluster.
fn what_else(folder: &Path, facts: &ClusterFacts) -> Result<Option<String>, OperationError> {
    // One that was interrupted is completed. Its control file is the first to go, the version stays.
    if folder.join(MARK).exists() || names_in(folder)?.is_empty() {
        return Ok(None);
    }
    Ok(match ControlFile::read(folder) {
        Ok(control) if control.system_id != facts.system => Some(format!(
            "it is cluster {}, and the snapshot is of cluster {}",
            control.system_id, facts.system
        )),
        _ if folder.join("PG_VERSION").is_file() => None,
        _ => Some("it is no data directory of PostgreSQL".to_owned()),
    })
}

/// Lists a folder, without what a restore or the file system keeps there; nothing if it is missing.
fn names_in(folder: &Path) -> Result<Vec<String>, OperationError> {
    let failed = |error| OperationError::io("list", folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if ![MARK, INSIDE, LOST_AND_FOUND].contains(&name.as_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn refused(path: &Path, what: &str) -> OperationError {
    OperationError::Target {
        path: path.to_owned(),
        what: format!("`--delta` removes what the snapshot lacks, and {what}"),
        kind: ErrorKind::Refused,
        hint: "name the data directory of the snapshot's own cluster, or restore to new folders"
            .to_owned(),
    }
}
