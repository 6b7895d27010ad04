//! Checking regions against the configuration: are they there, are they ours, may they hold it.

use lifeboat_model::{Diagnose as _, EnvironmentName, RegionName, Verdict};
use serde::Serialize;

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
        for region in session.regions_of(environment) {
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
