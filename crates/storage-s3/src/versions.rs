//! Versions, where objects are locked: the oldest of each key is the object.
//!
//! A repository writes an object once. So whatever is newer was put there by somebody who may
//! write, and hides the object: another body, or a deletion. It cannot take the lock away. A listing
//! of versions finds what is hidden, and reads then ask for the version by its id.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use lifeboat_model::{ErrorKind, LockMode, LockTerms};
use lifeboat_storage::{ObjectKey, ObjectMeta};
use tokio::sync::OnceCell;

use crate::failure::{Action, Failure};
use crate::retry::retried;
use crate::store::S3Store;

const LIST: Action = Action("s3:ListBucketVersions");

/// What is known of objects that are hidden behind newer versions.
#[derive(Default)]
pub(crate) struct Versions {
    /// Set once the whole store was listed.
    looked: OnceCell<()>,
    hidden: Mutex<HashMap<ObjectKey, String>>,
}

impl Versions {
    fn hidden(&self) -> MutexGuard<'_, HashMap<ObjectKey, String>> {
        self.hidden.lock().expect("no holder panics")
    }
}

/// One version in a listing, newest first within a key.
struct Found {
    key: ObjectKey,
    id: String,
    /// Its length, or `None` if it marks a deletion.
    size: Option<u64>,
    newest: bool,
}

impl S3Store {
    /// Returns the version to read of an object that is hidden; `None` means the newest will do.
    pub(crate) async fn first_version(&self, key: &ObjectKey) -> Result<Option<String>, Failure> {
        if !self.is_locking() {
            return Ok(None);
        }
        let look = || async { self.list_firsts("").await.map(drop) };
        self.versions.looked.get_or_try_init(look).await?;
        Ok(self.versions.hidden().get(key).cloned())
    }

    /// Tells whether the object is there though a plain read finds none or another.
    pub(crate) async fn is_hidden(&self, key: &ObjectKey) -> Result<bool, Failure> {
        Ok(self.first_version(key).await?.is_some())
    }

    /// Lists the oldest version of each key, and notes which of them are hidden.
    pub(crate) async fn list_firsts(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Failure> {
        let mut firsts: HashMap<ObjectKey, Found> = HashMap::new();
        self.each_version(prefix, |found| {
            if found.size.is_some() {
                // The last one listed of a key is its oldest.
                firsts.insert(found.key.clone(), found);
            }
        })
        .await?;
        let mut hidden = self.versions.hidden();
        hidden.retain(|key, _| !key.as_str().starts_with(prefix));
        let mut metas = Vec::with_capacity(firsts.len());
        for (key, first) in firsts {
            if !first.newest {
                hidden.insert(key.clone(), first.id);
            }
            let size = first.size.unwrap_or_default();
            metas.push(ObjectMeta { key, size });
        }
        let count = metas
            .iter()
            .filter(|meta| hidden.contains_key(&meta.key))
            .count();
        if count > 0 {
            let store = self.settings.url.to_string();
            tracing::warn!(
                "{count} objects in `{store}` were overwritten or deleted: their first versions are read"
            );
        }
        Ok(metas)
    }

    /// Calls `each` for every version below a prefix, in the order the store lists them.
    async fn each_version(&self, prefix: &str, mut each: impl FnMut(Found)) -> Result<(), Failure> {
        let mut marks: (Option<String>, Option<String>) = (None, None);
        loop {
            let page = retried(|| async {
                let request = self.client().await.list_object_versions();
                let request = request.bucket(self.bucket()).prefix(self.full(prefix));
                let request = request.set_key_marker(marks.0.clone());
                let page = request.set_version_id_marker(marks.1.clone()).send().await;
                page.map_err(|error| Failure::of(&error, LIST))
            })
            .await?;
            for version in page.versions() {
                let key = version.key().and_then(|key| self.own(key));
                let size = version.size().and_then(|size| u64::try_from(size).ok());
                if let (Some(key), Some(id), Some(size)) = (key, version.version_id(), size) {
                    let (id, newest) = (id.to_owned(), version.is_latest() == Some(true));
                    let size = Some(size);
                    each(Found {
                        key,
                        id,
                        size,
                        newest,
                    });
                }
            }
            for marker in page.delete_markers() {
                let key = marker.key().and_then(|key| self.own(key));
                if let (Some(key), Some(id)) = (key, marker.version_id()) {
                    let (id, newest) = (id.to_owned(), marker.is_latest() == Some(true));
                    let size = None;
                    each(Found {
                        key,
                        id,
                        size,
                        newest,
                    });
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
            marks = (
                page.next_key_marker().map(str::to_owned),
                page.next_version_id_marker().map(str::to_owned),
            );
            if marks.0.is_none() {
                let what = "the store cut a listing short and told no place to go on from";
                return Err(Failure::found(ErrorKind::Failed, what));
            }
        }
    }

    /// Deletes every version of an object, the oldest last: as long as that one stays, so does the
    /// object.
    pub(crate) async fn delete_versions(&self, key: &ObjectKey) -> Result<(), Failure> {
        let (mut markers, mut bodies) = (Vec::new(), Vec::new());
        self.each_version(key.as_str(), |found| {
            if found.key == *key {
                match found.size {
                    None => markers.push(found.id),
                    Some(_) => bodies.push(found.id),
                }
            }
        })
        .await?;
        // The first version goes only if it may; then nothing is left to be seen behind the markers.
        for id in bodies.iter().chain(&markers) {
            retried(|| async {
                let request = self.client().await.delete_object().bucket(self.bucket());
                let request = request.key(self.full(key.as_str())).version_id(id);
                let sent = request.send().await;
                sent.map_err(|error| Failure::of(&error, Action("s3:DeleteObjectVersion")))
            })
            .await?;
        }
        self.versions.hidden().remove(key);
        Ok(())
    }

    /// Extends an object's lock unless most of its term is left. Returns whether it had to.
    pub(crate) async fn extend_lock(
        &self,
        key: &ObjectKey,
        terms: &LockTerms,
    ) -> Result<bool, Failure> {
        let version = self.first_version(key).await?;
        let until = self.until(terms);
        if self
            .locked_until(key, version.as_deref())
            .await?
            .is_some_and(|have| {
                let short = until.secs() - have.secs();
                short <= i64::from(terms.days) * SLACK_SECS_PER_DAY
            })
        {
            return Ok(false);
        }
        let mode = match terms.mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(until);
        let retention = retention.build();
        retried(|| async {
            let request = self
                .client()
                .await
                .put_object_retention()
                .bucket(self.bucket());
            let request = request.key(self.full(key.as_str()));
            let request = request.set_version_id(version.clone());
            // S3 asks for a checksum of what a lock becomes.
            let sent = request.retention(retention.clone()).send().await;
            sent.map_err(|error| Failure::of(&error, Action("s3:PutObjectRetention")))
        })
        .await?;
        Ok(true)
    }

    async fn locked_until(
        &self,
        key: &ObjectKey,
        version: Option<&str>,
    ) -> Result<Option<DateTime>, Failure> {
        let head = retried(|| async {
            let request = self.client().await.head_object().bucket(self.bucket());
            let request = request.key(self.full(key.as_str()));
            let head = request
                .set_version_id(version.map(str::to_owned))
                .send()
                .await;
            head.map_err(|error| Failure::of(&error, Action("s3:GetObjectRetention")))
        })
        .await?;
        Ok(head.object_lock_retain_until_date().copied())
    }
}

/// A tenth of a lock's term may pass before it is extended: an object costs a request then, and not
/// at each prune.
const SLACK_SECS_PER_DAY: i64 = 24 * 60 * 60 / 10;
