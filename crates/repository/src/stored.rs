//! Reading from several regions as one: what there is, and parts of objects, which prove to be right
//! only once they are opened.
//!
//! Where several regions are read as one, bytes that cannot be opened are asked of each of them: the
//! first region with sound ones serves, and those before it are noted as damaged. An object that is
//! missing or too short in one region is read from the next one by the store itself, which notes that.

use std::ops::Range;

use bytes::Bytes;
use lifeboat_model::ErrorKind;
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore, StoreError};

use crate::error::{Flaw, RepositoryError};
use crate::repository::Repository;

/// Lists what is there: of several regions, what those have whose listings tell.
pub(crate) async fn list_told(
    store: &dyn ObjectStore,
    prefix: &str,
) -> Result<Vec<ObjectMeta>, StoreError> {
    match store.as_failover() {
        Some(regions) => regions.list_told(prefix).await,
        None => store.list(prefix).await,
    }
}

impl Repository {
    /// Reads part of an object that must be there: if it is not, or too short, that is damage.
    pub(crate) async fn read_stored(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
    ) -> Result<Bytes, RepositoryError> {
        self.store
            .get_range(key, range)
            .await
            .map_err(|error| match error.kind {
                ErrorKind::NotFound => self.unreadable(key, Flaw::damaged("it is missing")),
                ErrorKind::Corrupt => {
                    let cut = || "it is too short".to_owned();
                    let why = error.source.map_or_else(cut, |why| why.to_string());
                    self.unreadable(key, Flaw::damaged(why))
                }
                _ => error.into(),
            })
    }

    /// Reads part of an object and opens it, from another region where it is damaged.
    pub(crate) async fn open_stored<T, F>(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        open: impl Fn(Bytes) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, Flaw>>,
    {
        let bytes = self.read_stored(key, range.clone()).await?;
        match open(bytes).await {
            Ok(opened) => Ok(opened),
            Err(flaw) => self.open_elsewhere(key, range, flaw, open).await,
        }
    }

    /// Asks every region for bytes that `open` takes, after some had `flaw`.
    ///
    /// It is not known which region those came from, so each is asked, that one too. What is then
    /// sound was damaged on the way.
    ///
    /// # Errors
    /// Fails with `flaw` if no region has sound ones.
    pub(crate) async fn open_elsewhere<T, F>(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        flaw: Flaw,
        open: impl Fn(Bytes) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, Flaw>>,
    {
        let Some(regions) = self.store.as_failover() else {
            return Err(self.unreadable(key, flaw));
        };
        let mut damaged = Vec::new();
        for region in regions.members() {
            // One that does not serve is none to learn from.
            let Ok(bytes) = region.store().get_range(key, range.clone()).await else {
                continue;
            };
            match open(bytes).await {
                Ok(opened) => {
                    for (region, flaw) in damaged {
                        regions.note_damage(region, key, &format!("{flaw}"));
                    }
                    return Ok(opened);
                }
                Err(flaw) => damaged.push((region, flaw)),
            }
        }
        Err(self.unreadable(key, flaw))
    }

    /// Makes the error for an object that is sound in none of the regions that were read.
    fn unreadable(&self, key: &ObjectKey, flaw: Flaw) -> RepositoryError {
        let Flaw::Damaged(what) = flaw else {
            return flaw.of(key);
        };
        let what = match self.store.as_failover() {
            None => format!("{what}, in `{}`", self.store.describe()),
            Some(regions) => {
                let names = regions.members().iter();
                let names: Vec<_> = names.map(|one| format!("`{}`", one.name())).collect();
                format!("{what}; none of {} has a sound one", names.join(", "))
            }
        };
        RepositoryError::corrupt(key, what)
    }
}
