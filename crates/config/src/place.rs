//! Where a region lies: a folder, or a bucket and how it is reached.

use std::path::{Path, PathBuf};

use lifeboat_document::{Reader, Table};
use lifeboat_model::{BucketUrl, LockMode, LockTerms};

use crate::keys::{Located, is_credential_reference};
use crate::paths::absolute;
use crate::read::{Context, required};

/// The longest lock, days: a slip of the keyboard must not lock a bucket for ever.
const LOCK_DAYS_MAX: i64 = 3650;

/// The place that a region's address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder, absolute.
    Folder(PathBuf),
    /// A bucket in an object store.
    Bucket(Box<BucketPlace>),
}

/// A bucket and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// The bucket and the prefix of all keys.
    pub url: BucketUrl,
    /// The store's address, unless it is AWS.
    pub endpoint: Option<String>,
    /// The region that the bucket must say it lies in.
    pub s3_region: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name; by default if there is an
    /// endpoint.
    pub path_style: Option<bool>,
    /// The storage class of new objects.
    pub storage_class: Option<String>,
    /// How the store encrypts at rest.
    pub encryption: Option<BucketEncryption>,
    /// The lock that new objects get.
    pub lock: Option<LockTerms>,
    /// Where the credentials are to be had: `env:`, `file:`, `command:` or `profile:`; by default as
    /// AWS's own tools find them.
    pub credentials: Option<Located<String>>,
}

/// What a store is asked to encrypt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketEncryption {
    /// Its own key.
    Aes256,
    /// A key in its key management, by default the account's.
    Kms {
        /// The key.
        key: Option<String>,
    },
}

impl Place {
    /// Reads an address that stands alone, with nothing else said of it.
    ///
    /// # Errors
    /// Fails with what is wrong with it.
    pub fn of_url(url: &str, root: &Path) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("s3", _)) => {
                let url = url.parse().map_err(|error| format!("{error}"))?;
                Ok(Self::Bucket(Box::new(BucketPlace::new(url))))
            }
            Some((scheme, _)) => Err(format!("regions at `{scheme}://` are not supported")),
            None if url.trim().is_empty() => Err("`url` must not be empty".to_owned()),
            None => Ok(Self::Folder(absolute(root, url))),
        }
    }

    /// Returns the folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// Returns the bucket, if it is one.
    pub fn bucket(&self) -> Option<&BucketPlace> {
        match self {
            Self::Folder(_) => None,
            Self::Bucket(bucket) => Some(bucket),
        }
    }

    /// Tells whether the two are one place, or one lies in the other.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(a), Self::Folder(b)) => crate::paths::overlap(a, b),
            // Two stores may have a bucket of one name.
            (Self::Bucket(a), Self::Bucket(b)) => {
                a.endpoint == b.endpoint && a.url.overlaps(&b.url)
            }
            _ => false,
        }
    }
}

impl BucketPlace {
    fn new(url: BucketUrl) -> Self {
        Self {
            url,
            endpoint: None,
            s3_region: None,
            path_style: None,
            storage_class: None,
            encryption: None,
            lock: None,
            credentials: None,
        }
    }
}

/// Reads the place of a `[region.NAME]` table. What only buckets have is no key of a folder.
pub(crate) fn read_place(reader: &Reader<'_>, url: &str, context: &Context<'_>) -> Option<Place> {
    let mut place = match Place::of_url(url, context.root) {
        Ok(place) => place,
        Err(message) => {
            let hint =
                "give a folder, relative to the project or absolute, or `s3://BUCKET/PREFIX`";
            reader.reject("url", message, Some(hint.to_owned()));
            return None;
        }
    };
    if let Place::Bucket(bucket) = &mut place {
        bucket.endpoint = reader.string("endpoint");
        let is_address =
            |text: &String| text.starts_with("https://") || text.starts_with("http://");
        if bucket
            .endpoint
            .as_ref()
            .is_some_and(|text| !is_address(text))
        {
            let hint = "such as `endpoint = \"https://s3.example.org\"`".to_owned();
            reader.reject("endpoint", "`endpoint` must be an address", Some(hint));
        }
        bucket.s3_region = reader.string("s3_region");
        bucket.path_style = reader.boolean("path_style");
        bucket.storage_class = reader.string("storage_class");
        bucket.encryption = encryption(reader);
        bucket.lock = reader.table("lock").and_then(|table| lock(table, context));
        bucket.credentials = credentials(reader);
    }
    Some(place)
}

fn encryption(reader: &Reader<'_>) -> Option<BucketEncryption> {
    let key = reader.string("sse_kms_key");
    let kind = reader.string("sse");
    match kind.as_deref() {
        None if key.is_some() => Some(BucketEncryption::Kms { key }),
        None => None,
        Some("kms") => Some(BucketEncryption::Kms { key }),
        Some("aes256") if key.is_none() => Some(BucketEncryption::Aes256),
        Some("aes256") => {
            let hint = "write `sse = \"kms\"`, or leave the key out".to_owned();
            reader.reject("sse", "`aes256` takes no `sse_kms_key`", Some(hint));
            None
        }
        Some(other) => {
            let hint = "write `aes256` or `kms`".to_owned();
            let message = format!("`{other}` is no kind of server-side encryption");
            reader.reject("sse", message, Some(hint));
            None
        }
    }
}

fn lock(table: &Table, context: &Context<'_>) -> Option<LockTerms> {
    let reader = Reader::new(table, "`lock`", context.problems);
    let mode: Option<LockMode> = required(&reader, table, "mode", "one of: governance, compliance");
    let days = reader.integer("days");
    let sound = days.filter(|days| (1..=LOCK_DAYS_MAX).contains(days));
    if days.is_none() {
        reader.missing("days", "how long, such as `days = 30`");
    } else if sound.is_none() {
        let message = format!("`days` must be 1 to {LOCK_DAYS_MAX}");
        reader.reject("days", message, None);
    }
    let legal_hold = reader.boolean("legal_hold").unwrap_or(false);
    reader.finish();
    Some(LockTerms {
        mode: mode?,
        days: u32::try_from(sound?).ok()?,
        legal_hold,
    })
}

fn credentials(reader: &Reader<'_>) -> Option<Located<String>> {
    // Not `Reader::string`: its message would repeat what may be the secret itself.
    let node = reader.node("credentials")?;
    match &node.value {
        lifeboat_document::Value::String(text) if is_credential_reference(text) => Some(Located {
            value: text.clone(),
            origin: node.origin.clone(),
        }),
        _ => {
            let hint = "write `env:NAME`, `file:PATH`, `command:LINE` or `profile:NAME`, never the \
                        secret itself; if it was one, replace that access key";
            reader.push(node.origin.error(
                "the credentials are not a reference".to_owned(),
                Some(hint.to_owned()),
            ));
            None
        }
    }
}
