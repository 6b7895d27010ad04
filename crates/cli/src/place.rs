//! The kinds of stores this program knows.

use std::sync::Arc;

use lifeboat_config::Region;
use lifeboat_operations::StoreOpener;
use lifeboat_storage::{LocalStore, ObjectStore, StoreError};

/// Opens regions that are folders.
pub(crate) struct LocalRegions;

impl StoreOpener for LocalRegions {
    fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(LocalStore::open(&region.path)?))
    }

    fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        Ok(Arc::new(LocalStore::create(&region.path)?))
    }
}
