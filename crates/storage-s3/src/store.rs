//! The store: one bucket, or what lies under a prefix of it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::ErrorKind;
use lifeboat_runtime::{Clock, Entropy, World};
use lifeboat_storage::{ObjectKey, ObjectMeta, ObjectStore, Put, StoreError};
use tokio::sync::OnceCell;

use crate::client;
use crate::failure::{Action, Failure};
use crate::probe::{self, ConditionalPut};
use crate::retry::retried;
use crate::settings::S3Settings;
use crate::versions::Versions;

/// Locks that are looked at and extended at the same time.
const LOCKS_AT_ONCE: usize = 16;

/// An [`ObjectStore`] in an S3 bucket.
///
/// With a lock, objects are versions that cannot be deleted or replaced for a time. Of each key the
/// oldest version counts: whoever may only write can hide it behind others, and not change it.
pub struct S3Store {
    pub(crate) settings: S3Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    client: OnceCell<Client>,
    conditional: OnceCell<ConditionalPut>,
    pub(crate) versions: Versions,
}

impl S3Store {
    /// Makes the store. Nothing is asked of the bucket before the first call.
    pub fn new(settings: S3Settings, world: &World) -> Self {
        Self {
            settings,
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
            client: OnceCell::new(),
            conditional: OnceCell::new(),
            versions: Versions::default(),
        }
    }

    /// Returns what the store does with conditional puts, asking it if nobody has yet.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn conditional_put(&self) -> Result<ConditionalPut, StoreError> {
        let known = self.conditional().await;
        known.map_err(|failure| self.error("write", "", failure))
    }

    pub(crate) async fn conditional(&self) -> Result<ConditionalPut, Failure> {
        let ask = || async {
            match &self.settings.endpoint {
                // AWS has honoured them since 2024.
                None => Ok(ConditionalPut::Honoured),
                Some(_) => probe::probe(self).await,
            }
        };
        self.conditional.get_or_try_init(ask).await.copied()
    }

    pub(crate) async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client::connect(&self.settings))
            .await
    }

    pub(crate) fn bucket(&self) -> &str {
        self.settings.url.bucket()
    }

    /// Returns the name of an object, or of all that start so, in the bucket.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.settings.url.prefix())
    }

    /// Reads a name in the bucket, or returns `None` if it is not one of ours.
    pub(crate) fn own(&self, full: &str) -> Option<ObjectKey> {
        ObjectKey::new(full.strip_prefix(self.settings.url.prefix())?).ok()
    }

    pub(crate) fn is_locking(&self) -> bool {
        self.settings.lock.is_some()
    }

    fn error(&self, op: &'static str, key: &str, mut failure: Failure) -> StoreError {
        let hint = failure.hint.take();
        StoreError::new(op, key, self.describe(), failure.kind, failure).with_hint(hint)
    }

    async fn pages(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Failure> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = retried(|| async {
                let request = self.client().await.list_objects_v2();
                let request = request.bucket(self.bucket()).prefix(self.full(prefix));
                let page = request.set_continuation_token(token.clone()).send().await;
                page.map_err(|error| Failure::of(&error, Action("s3:ListBucket")))
            })
            .await?;
            for object in page.contents() {
                let key = object.key().and_then(|key| self.own(key));
                let size = object.size().and_then(|size| u64::try_from(size).ok());
                if let (Some(key), Some(size)) = (key, size) {
                    found.push(ObjectMeta { key, size });
                }
            }
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() || page.is_truncated() != Some(true) {
                return Ok(found);
            }
        }
    }

    async fn head_whole(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, Failure> {
        let version = self.first_version(key).await?;
        let head = retried(|| async {
            let request = self.client().await.head_object().bucket(self.bucket());
            let request = request.key(self.full(key.as_str()));
            let head = request.set_version_id(version.clone()).send().await;
            head.map_err(|error| Failure::of(&error, Action("s3:GetObject")))
        });
        match head.await {
            Ok(head) => {
                let size = head
                    .content_length()
                    .and_then(|size| u64::try_from(size).ok());
                let size = size.ok_or_else(|| {
                    Failure::found(ErrorKind::Failed, "the store did not tell the length")
                })?;
                let key = key.clone();
                Ok(Some(ObjectMeta { key, size }))
            }
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn delete_current(&self, key: &ObjectKey) -> Result<(), Failure> {
        retried(|| async {
            let request = self.client().await.delete_object().bucket(self.bucket());
            let deleted = request.key(self.full(key.as_str())).send().await;
            deleted.map_err(|error| Failure::of(&error, Action("s3:DeleteObject")))
        })
        .await?;
        Ok(())
    }

    async fn bucket_region(&self) -> Result<Option<String>, Failure> {
        let asked = retried(|| async {
            let request = self.client().await.get_bucket_location();
            let location = request.bucket(self.bucket()).send().await;
            location.map_err(|error| Failure::of(&error, Action("s3:GetBucketLocation")))
        });
        match asked.await {
            // The two oldest regions have no name and a short one in this answer.
            Ok(found) => Ok(Some(match found.location_constraint() {
                None => "us-east-1".to_owned(),
                Some(place) => match place.as_str() {
                    "" => "us-east-1".to_owned(),
                    "EU" => "eu-west-1".to_owned(),
                    place => place.to_owned(),
                },
            })),
            Err(failure) if failure.kind == ErrorKind::Denied => self.region_by_head(failure).await,
            Err(failure) => Err(failure),
        }
    }

    /// Asks in the way that needs a smaller right, and that not every store answers.
    async fn region_by_head(&self, denied: Failure) -> Result<Option<String>, Failure> {
        let request = self.client().await.head_bucket().bucket(self.bucket());
        match request.send().await {
            Ok(found) => Ok(found.bucket_region().map(str::to_owned)),
            Err(_) => Err(denied),
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        self.settings.url.to_string()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let put = self.put_once(key, body).await;
        put.map_err(|failure| self.error("write", key.as_str(), failure))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let got = self.get_whole(key).await;
        got.map_err(|failure| self.error("read", key.as_str(), failure))
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let got = self.get_exactly(key, range).await;
        got.map_err(|failure| self.error("read", key.as_str(), failure))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let head = self.head_whole(key).await;
        head.map_err(|failure| self.error("read", key.as_str(), failure))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        if !ObjectKey::is_prefix(prefix) {
            return Err(StoreError::bad_prefix(prefix, self.describe()));
        }
        let listed = match self.is_locking() {
            true => self.list_firsts(prefix).await,
            false => self.pages(prefix).await,
        };
        let mut found = listed.map_err(|failure| self.error("list", prefix, failure))?;
        // S3 lists in this order; not every store does.
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let deleted = match self.is_locking() {
            true => self.delete_versions(key).await,
            false => self.delete_current(key).await,
        };
        deleted.map_err(|failure| self.error("delete", key.as_str(), failure))
    }

    async fn location(&self) -> Result<Option<String>, StoreError> {
        let region = self.bucket_region().await;
        region.map_err(|failure| self.error("locate", "", failure))
    }

    async fn protect(&self, keys: &[ObjectKey]) -> Result<u64, StoreError> {
        let Some(rules) = &self.settings.lock else {
            return Ok(0);
        };
        let mut extensions = Vec::new();
        for key in keys {
            extensions.extend(rules.terms_for(key.as_str()).map(|terms| async move {
                let extended = self.extend_lock(key, terms).await;
                extended.map_err(|failure| self.error("lock", key.as_str(), failure))
            }));
        }
        let mut extensions = stream::iter(extensions).buffer_unordered(LOCKS_AT_ONCE);
        let mut count = 0;
        while let Some(extended) = extensions.try_next().await? {
            count += u64::from(extended);
        }
        Ok(count)
    }
}
