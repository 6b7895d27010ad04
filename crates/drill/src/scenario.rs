//! Scenarios: what is pretended to be lost.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lifeboat_config::Region;
use lifeboat_model::{ErrorKind, RegionName};
use lifeboat_operations::StoreOpener;
use lifeboat_storage::{ObjectStore, StoreError};
use serde::Serialize;

/// What a drill rehearses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The source is lost; every region is there. The newest snapshot comes back from the home.
    Latest,
    /// The home region is lost too; one replica serves alone.
    RegionLoss,
}

impl Scenario {
    /// Returns the word people write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::RegionLoss => "region-loss",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Latest, Self::RegionLoss]
            .into_iter()
            .find(|scenario| scenario.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no scenario; one of: latest, region-loss"))
    }
}

/// Opens one region and denies every other, as if they were gone.
pub struct OnlyRegion {
    /// The region that is left.
    pub region: RegionName,
    /// Opens it.
    pub inner: Arc<dyn StoreOpener>,
}

impl StoreOpener for OnlyRegion {
    fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        if region.name == self.region {
            return self.inner.open(region);
        }
        Err(denied(region))
    }

    fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Err(denied(region))
    }
}

fn denied(region: &Region) -> StoreError {
    let why = "the drill pretends that this region is lost";
    StoreError::new("open", "", &region.url, ErrorKind::Denied, why)
}
