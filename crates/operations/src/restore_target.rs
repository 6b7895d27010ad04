//! Which places a restore must not bring to another state, whatever it is asked.

use std::path::{Path, PathBuf};

use lifeboat_model::ErrorKind;

use crate::error::OperationError;
use crate::session::Session;

/// Refuses a folder whose other content nobody can mean to lose: the root, the home folder, and
/// whatever holds a project, a region, or any repository.
pub(crate) fn refuse_precious(session: &Session, target: &Path) -> Result<(), OperationError> {
    let Ok(found) = target.canonicalize() else {
        // Nothing is there, so nothing can be lost.
        return Ok(());
    };
    match what_it_holds(session, &found) {
        None => Ok(()),
        Some(what) => Err(OperationError::Target {
            path: target.to_owned(),
            what: format!("`--delta` removes what the snapshot lacks, and this is {what}"),
            kind: ErrorKind::Usage,
            hint: "name the folder that the snapshot was taken of, or restore to a new one"
                .to_owned(),
        }),
    }
}

fn what_it_holds(session: &Session, target: &Path) -> Option<String> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.parent().is_none() {
        return Some("the root of all files".to_owned());
    }
    let home = session
        .variables
        .get("HOME")
        .filter(|home| !home.is_empty());
    if home.is_some_and(|home| real(&PathBuf::from(home)).starts_with(target)) {
        return Some("or holds your home folder".to_owned());
    }
    let config = &session.config;
    let project = real(&config.root);
    if target.join("lifeboat.toml").exists()
        || (config.root.is_absolute() && project.starts_with(target))
    {
        return Some("or holds a project of Lifeboat".to_owned());
    }
    let mut regions = config.regions.values();
    if let Some(region) = regions.find(|region| {
        region
            .folder()
            .is_some_and(|folder| real(folder).starts_with(target))
    }) {
        return Some(format!("or holds region `{}`", region.name));
    }
    let is_repository = target.join("repo.json").exists() || target.join("region.json").exists();
    is_repository.then(|| "a repository".to_owned())
}
