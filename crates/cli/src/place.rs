//! The kinds of stores this program knows.

use std::path::PathBuf;
use std::sync::Arc;

use lifeboat_config::{Place, Region};
use lifeboat_operations::StoreOpener;
use lifeboat_runtime::{Variables, World};
use lifeboat_storage::{LocalStore, ObjectStore, StoreError};

/// Opens regions that are folders or buckets.
pub(crate) struct Regions {
    /// The project's folder, where relative paths start.
    pub(crate) root: PathBuf,
    pub(crate) variables: Arc<Variables>,
    pub(crate) world: World,
}

impl StoreOpener for Regions {
    fn open(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        match &region.place {
            Place::Folder(path) => Ok(Arc::new(LocalStore::open(path)?)),
            Place::Bucket(bucket) => bucket::open(self, region, bucket),
        }
    }

    fn create(&self, region: &Region) -> Result<Arc<dyn ObjectStore>, StoreError> {
        match &region.place {
            Place::Folder(path) => Ok(Arc::new(LocalStore::create(path)?)),
            // Buckets carry rights, locks and rules, which their owner decides about.
            Place::Bucket(bucket) => bucket::open(self, region, bucket),
        }
    }
}

#[cfg(feature = "s3")]
mod bucket {
    use std::sync::Arc;

    use lifeboat_config::{BucketEncryption, BucketPlace, Region};
    use lifeboat_model::{Diagnose as _, ErrorKind};
    use lifeboat_repository::layout::{LEASES, TOMBSTONES};
    use lifeboat_runtime::SecretRef;
    use lifeboat_storage::{ObjectStore, StoreError};
    use lifeboat_storage_s3::{
        AccessKeys, CredentialSource, Encryption, LockRules, S3Settings, S3Store,
    };

    use super::Regions;

    pub(super) fn open(
        regions: &Regions,
        region: &Region,
        bucket: &BucketPlace,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let settings = settings(regions, region, bucket)?;
        Ok(Arc::new(S3Store::new(settings, &regions.world)))
    }

    fn settings(
        regions: &Regions,
        region: &Region,
        bucket: &BucketPlace,
    ) -> Result<S3Settings, StoreError> {
        let variable = |name| regions.variables.get(name).map(str::to_owned);
        // AWS's own tools know these, so a bucket can be read without a project.
        let endpoint = bucket
            .endpoint
            .clone()
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"));
        Ok(S3Settings {
            url: bucket.url.clone(),
            path_style: bucket.path_style.unwrap_or(endpoint.is_some()),
            endpoint,
            region: bucket.s3_region.clone(),
            storage_class: bucket.storage_class.clone(),
            encryption: bucket.encryption.as_ref().map(encryption),
            lock: bucket.lock.map(|terms| LockRules {
                terms,
                except: vec![LEASES.to_owned(), TOMBSTONES.to_owned()],
            }),
            credentials: credentials(regions, region, bucket)?,
        })
    }

    fn encryption(asked: &BucketEncryption) -> Encryption {
        match asked {
            BucketEncryption::Aes256 => Encryption::Aes256,
            BucketEncryption::Kms { key } => Encryption::Kms { key: key.clone() },
        }
    }

    fn credentials(
        regions: &Regions,
        region: &Region,
        bucket: &BucketPlace,
    ) -> Result<CredentialSource, StoreError> {
        let Some(reference) = &bucket.credentials else {
            return Ok(CredentialSource::Chain);
        };
        if let Some(name) = reference.value.strip_prefix("profile:") {
            return Ok(CredentialSource::Profile(name.to_owned()));
        }
        let failed = |kind, why: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::new("open", "", &region.url, kind, why)
        };
        let reference: SecretRef = reference
            .value
            .parse()
            .map_err(|why: String| failed(ErrorKind::Usage, why.into()))?;
        let secret = reference
            .fetch(&regions.root, &regions.variables)
            .map_err(|why| {
                let hint = why.hint();
                failed(why.kind(), why.into()).with_hint(hint)
            })?;
        let keys: AccessKeys = String::from_utf8_lossy(secret.expose()).parse().map_err(
            |why: lifeboat_storage_s3::BadAccessKeys| failed(ErrorKind::Usage, why.into()),
        )?;
        Ok(CredentialSource::Keys(keys))
    }
}

#[cfg(not(feature = "s3"))]
mod bucket {
    use std::sync::Arc;

    use lifeboat_config::{BucketPlace, Region};
    use lifeboat_model::ErrorKind;
    use lifeboat_storage::{ObjectStore, StoreError};

    use super::Regions;

    pub(super) fn open(
        _: &Regions,
        region: &Region,
        _: &BucketPlace,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let why = "this build knows no object stores: build it with the feature `s3`";
        Err(StoreError::new(
            "open",
            "",
            &region.url,
            ErrorKind::Usage,
            why,
        ))
    }
}
