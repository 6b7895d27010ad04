//! Checking the configuration against the world: are regions, sources and keys there, and right.

use lifeboat_model::{Diagnose as _, EnvironmentName, RegionName, SourceName, Verdict};
use lifeboat_repository::{Repository, Role};
use serde::Serialize;

use crate::error::OperationError;
use crate::keys;
use crate::session::Session;

/// One environment in one region.
#[derive(Debug, Clone, Serialize)]
pub struct RegionCheck {
    /// The environment.
    pub environment: EnvironmentName,
    /// The region.
    pub region: RegionName,
    /// Whether the region is the environment's home.
    pub home: bool,
    /// Whether the environment's data may be written there now.
    pub verdict: Verdict,
    /// Why not, and what to do.
    pub message: Option<String>,
}

/// Asks every region that an environment uses.
pub async fn check_regions(session: &Session) -> Vec<RegionCheck> {
    let mut checks = Vec::new();
    for environment in session.config.environments.values() {
        for region in environment.regions() {
            let opened = session.open_region_for(environment, region).await;
            let message = opened.as_ref().err().map(|error| match error.hint() {
                Some(hint) => format!("{error} (hint: {hint})"),
                None => error.to_string(),
            });
            checks.push(RegionCheck {
                environment: environment.name.clone(),
                region: region.clone(),
                home: *region == environment.home,
                verdict: Verdict::from_passed(opened.is_ok()),
                message,
            });
        }
    }
    checks
}

/// One source and whether there is anything to back up.
#[derive(Debug, Clone, Serialize)]
pub struct SourceCheck {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// Whether its file or folder is there.
    pub verdict: Verdict,
    /// Why not.
    pub message: Option<String>,
}

/// Looks whether every source is there.
pub fn check_sources(session: &Session) -> Vec<SourceCheck> {
    let mut checks = Vec::new();
    for environment in session.config.environments.values() {
        for source in environment.sources.values() {
            // A cluster without a data directory here is asked when it is backed up.
            let Some(path) = &source.path else { continue };
            let found = std::fs::metadata(path);
            let message = found
                .as_ref()
                .err()
                .map(|error| format!("`{}`: {error}", path.display()));
            checks.push(SourceCheck {
                environment: environment.name.clone(),
                source: source.name.clone(),
                verdict: Verdict::from_passed(found.is_ok()),
                message,
            });
        }
    }
    checks
}

/// One configured key and whether it opens the repository.
#[derive(Debug, Clone, Serialize)]
pub struct KeyCheck {
    /// The role it is configured for.
    pub role: Role,
    /// Whether it opens the repository; not verified if the key is not on this host.
    pub verdict: Verdict,
    /// What it is, or why it does not open.
    pub message: String,
}

/// Tries every key of the project on the first region that can be read.
pub async fn check_keys(session: &Session) -> Vec<KeyCheck> {
    let mut store = None;
    for name in session.config.regions.keys() {
        if store.is_none() {
            store = session
                .open_region(name)
                .await
                .ok()
                .map(|opened| opened.store);
        }
    }
    let mut checks = Vec::new();
    for (role, reference) in keys::candidates(&session.config.keys) {
        let (Some(reference), Some(store)) = (reference, &store) else {
            continue;
        };
        let opened = async {
            let credential = keys::fetch(session, role, reference)?;
            let opened = Repository::open(store.clone(), &credential, session.world.clone());
            Ok::<Role, OperationError>(opened.await?.role())
        };
        let (verdict, message) = match opened.await {
            Ok(found) if found == role => (Verdict::Pass, "opens the repository".to_owned()),
            Ok(found) => (Verdict::Fail, format!("is a {found} key")),
            // A host need not hold every key.
            Err(error @ OperationError::Secret { .. }) => {
                (Verdict::NotVerified, format!("not on this host: {error}"))
            }
            Err(error) => (Verdict::Fail, error.to_string()),
        };
        checks.push(KeyCheck {
            role,
            verdict,
            message,
        });
    }
    checks
}
