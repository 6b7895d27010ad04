//! What every verb needs: the configuration and the world it runs in.

use std::sync::Arc;

use lifeboat_config::{Config, Environment};
use lifeboat_runtime::{Progress, Variables, World};

use crate::error::OperationError;
use crate::job::OpenJob;
use crate::place::StoreOpener;

/// The configuration, the world, and who asks.
#[derive(Clone)]
pub struct Session {
    /// The project's configuration.
    pub config: Arc<Config>,
    /// Clock, entropy and compute pool.
    pub world: World,
    /// Environment variables, for secrets.
    pub variables: Arc<Variables>,
    /// Opens the stores of regions.
    pub stores: Arc<dyn StoreOpener>,
    /// Who is told how far things are.
    pub progress: Arc<dyn Progress>,
    /// This host's name, for the ledger.
    pub host: String,
    /// Who runs the program, for the ledger.
    pub operator: String,
    /// Program and version, for snapshots.
    pub program: String,
    /// The job that this is the work of; `None` if a person asked.
    pub job: Option<Arc<OpenJob>>,
}

impl Session {
    /// Looks an environment up by name.
    ///
    /// # Errors
    /// Fails with the nearest name if there is none.
    pub fn environment(&self, name: &str) -> Result<&Environment, OperationError> {
        Ok(self.config.environment(name)?)
    }
}
