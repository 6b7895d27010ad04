//! A bucket's objects, their versions and locks: the rules, without HTTP.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use s3s::{S3Result, s3_error};

use super::access::now;

/// A bucket in memory.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Whether versions are kept and locks enforced.
    locking: bool,
    /// The versions of each key, oldest first; never empty.
    objects: BTreeMap<String, Vec<Version>>,
    versions: u64,
    passed: Duration,
    pub(super) uploads: super::multipart::Uploads,
}

/// One version of an object.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) modified: SystemTime,
    /// What it holds, or `None` if it marks a deletion.
    pub(super) content: Option<Content>,
    pub(super) lock: Lock,
}

/// What is stored under a key.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) body: Bytes,
    pub(super) etag: String,
    pub(super) metadata: HashMap<String, String>,
    pub(super) storage_class: Option<String>,
    pub(super) encryption: Option<String>,
}

/// What keeps a version from being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) retention: Option<Retention>,
    pub(super) legal_hold: bool,
}

/// A retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) mode: Mode,
    pub(super) until: SystemTime,
}

/// How hard a retention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Whoever has the right may lift it.
    Governance,
    /// Nobody may lift it.
    Compliance,
}

/// Whether the caller asked to go round a governance retention, and may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bypass {
    Yes,
    No,
}

/// What a put demands of the object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// There must be none.
    Absent,
    /// It must have this entity tag.
    Matches(String),
}

impl Bucket {
    pub(super) fn new(locking: bool) -> Self {
        Self {
            locking,
            objects: BTreeMap::new(),
            versions: 0,
            passed: Duration::ZERO,
            uploads: super::multipart::Uploads::default(),
        }
    }

    pub(super) fn is_locking(&self) -> bool {
        self.locking
    }

    pub(super) fn let_pass(&mut self, time: Duration) {
        self.passed += time;
    }

    fn now(&self) -> SystemTime {
        now() + self.passed
    }

    /// Stores a version if the condition holds. Check and store are one step: nobody comes between.
    pub(super) fn put(
        &mut self,
        key: &str,
        content: Content,
        lock: Lock,
        condition: &Condition,
    ) -> S3Result<Version> {
        self.check_condition(key, condition)?;
        if lock != Lock::default() && !self.locking {
            return Err(s3_error!(
                InvalidRequest,
                "Bucket is missing Object Lock Configuration"
            ));
        }
        Ok(self.push(key, Some(content), lock))
    }

    fn check_condition(&self, key: &str, condition: &Condition) -> S3Result<()> {
        let current = self.current(key).and_then(|found| found.content.as_ref());
        match (condition, current) {
            (Condition::Absent, Some(_)) => Err(s3_error!(PreconditionFailed)),
            (Condition::Matches(_), None) => Err(s3_error!(NoSuchKey)),
            (Condition::Matches(tag), Some(content)) if *tag != content.etag => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, key: &str, content: Option<Content>, lock: Lock) -> Version {
        self.versions += 1;
        let version = Version {
            id: match self.locking {
                true => format!("v{:08}", self.versions),
                false => "null".to_owned(),
            },
            modified: self.now(),
            content,
            lock,
        };
        let versions = self.objects.entry(key.to_owned()).or_default();
        if !self.locking {
            versions.clear();
        }
        versions.push(version.clone());
        version
    }

    fn current(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last()
    }

    /// Finds what a read of the key, or of one of its versions, gets.
    pub(super) fn get(&self, key: &str, id: Option<&str>) -> S3Result<(&Version, &Content)> {
        let found = match id {
            None => self.current(key),
            Some(id) => {
                let versions = self.objects.get(key).map_or(&[][..], Vec::as_slice);
                let found = versions.iter().find(|version| version.id == id);
                return match found {
                    None => Err(s3_error!(NoSuchVersion)),
                    Some(version) => match &version.content {
                        Some(content) => Ok((version, content)),
                        None => Err(s3_error!(MethodNotAllowed)),
                    },
                };
            }
        };
        found
            .and_then(|version| Some((version, version.content.as_ref()?)))
            .ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// Deletes an object, or marks it deleted where versions are kept, or deletes one version.
    /// Returns the marker or the version.
    pub(super) fn delete(
        &mut self,
        key: &str,
        id: Option<&str>,
        bypass: Bypass,
    ) -> S3Result<Option<Version>> {
        match id {
            None if self.locking => Ok(Some(self.push(key, None, Lock::default()))),
            None => {
                self.objects.remove(key);
                Ok(None)
            }
            Some(id) => self.delete_version(key, id, bypass),
        }
    }

    fn delete_version(&mut self, key: &str, id: &str, bypass: Bypass) -> S3Result<Option<Version>> {
        let now = self.now();
        let Some(versions) = self.objects.get_mut(key) else {
            return Ok(None);
        };
        let Some(place) = versions.iter().position(|version| version.id == id) else {
            return Ok(None);
        };
        versions[place].lock.check_delete(now, bypass)?;
        let gone = versions.remove(place);
        if versions.is_empty() {
            self.objects.remove(key);
        }
        Ok(Some(gone))
    }

    fn version_mut(&mut self, key: &str, id: Option<&str>) -> S3Result<&mut Version> {
        if !self.locking {
            return Err(s3_error!(
                InvalidRequest,
                "Bucket is missing Object Lock Configuration"
            ));
        }
        let versions = self.objects.get_mut(key);
        let versions = versions.ok_or_else(|| s3_error!(NoSuchKey))?;
        match id {
            None => versions.last_mut(),
            Some(id) => versions.iter_mut().find(|version| version.id == id),
        }
        .filter(|version| version.content.is_some())
        .ok_or_else(|| s3_error!(NoSuchVersion))
    }

    /// Sets a version's retention, which may only grow unless it is lifted by right.
    pub(super) fn set_retention(
        &mut self,
        key: &str,
        id: Option<&str>,
        wanted: Option<Retention>,
        bypass: Bypass,
    ) -> S3Result<()> {
        let now = self.now();
        let version = self.version_mut(key, id)?;
        version.lock.check_change(wanted.as_ref(), now, bypass)?;
        version.lock.retention = wanted;
        Ok(())
    }

    pub(super) fn set_legal_hold(&mut self, key: &str, id: Option<&str>, on: bool) -> S3Result<()> {
        self.version_mut(key, id)?.lock.legal_hold = on;
        Ok(())
    }

    /// Iterates over what a listing shows, from after `start`, in order.
    pub(super) fn list<'b>(
        &'b self,
        prefix: &'b str,
        start: &'b str,
    ) -> impl Iterator<Item = (&'b String, &'b Version, &'b Content)> {
        // Sought, not searched: with a walk from the first key, a listing page by page takes time that
        // grows with the square of its length.
        let from = match start < prefix {
            true => Bound::Included(prefix),
            false if start.is_empty() => Bound::Unbounded,
            false => Bound::Excluded(start),
        };
        self.objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| {
                let version = versions.last()?;
                Some((key, version, version.content.as_ref()?))
            })
    }

    /// Iterates over all versions, newest first within a key, as S3 lists them.
    pub(super) fn list_versions<'b>(
        &'b self,
        prefix: &'b str,
    ) -> impl Iterator<Item = (&'b String, &'b Version, bool)> {
        self.objects
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .flat_map(|(key, versions)| {
                let newest = versions.len() - 1;
                let indexed = versions.iter().enumerate().rev();
                indexed.map(move |(index, version)| (key, version, index == newest))
            })
    }

    pub(super) fn current_bodies(&self) -> BTreeMap<String, Bytes> {
        self.list("", "")
            .map(|(key, _, content)| (key.clone(), content.body.clone()))
            .collect()
    }

    pub(super) fn overwrite(&mut self, key: &str, body: Bytes) {
        let content = Content {
            etag: super::checksum::etag(&body),
            body,
            metadata: HashMap::new(),
            storage_class: None,
            encryption: None,
        };
        self.push(key, Some(content), Lock::default());
    }

    pub(super) fn remove(&mut self, key: &str) {
        // Without a version, a deletion is refused to nobody.
        let deleted = self.delete(key, None, Bypass::No);
        deleted.expect("no version is deleted");
    }

    pub(super) fn delete_all(&mut self) {
        let keys: Vec<String> = self.objects.keys().cloned().collect();
        for key in keys {
            self.remove(&key);
        }
    }

    pub(super) fn purge(&mut self) -> usize {
        let all = self.list_versions("");
        let all: Vec<_> = all
            .map(|(key, version, _)| (key.clone(), version.id.clone()))
            .collect();
        let refused = all
            .into_iter()
            .filter(|(key, id)| self.delete(key, Some(id), Bypass::Yes).is_err());
        refused.count()
    }

    pub(super) fn age_locks(&mut self, age: Duration) {
        let versions = self.objects.values_mut().flatten();
        for retention in versions.filter_map(|version| version.lock.retention.as_mut()) {
            retention.until -= age;
        }
    }

    pub(super) fn tamper(&mut self, key: &str, body: Bytes) {
        let versions = self.objects.get_mut(key).expect("there is such an object");
        let newest = versions.last_mut().expect("it has a version");
        let content = newest.content.as_mut().expect("it is not deleted");
        content.body = body;
    }
}

impl Lock {
    fn check_delete(&self, now: SystemTime, bypass: Bypass) -> S3Result<()> {
        let refused = || {
            s3_error!(
                AccessDenied,
                "Access Denied because object protected by object lock."
            )
        };
        if self.legal_hold {
            return Err(refused());
        }
        match &self.retention {
            Some(Retention { until, .. }) if *until <= now => Ok(()),
            Some(Retention { mode, .. }) => match (mode, bypass) {
                (Mode::Governance, Bypass::Yes) => Ok(()),
                _ => Err(refused()),
            },
            None => Ok(()),
        }
    }

    fn check_change(
        &self,
        wanted: Option<&Retention>,
        now: SystemTime,
        bypass: Bypass,
    ) -> S3Result<()> {
        let Some(have) = self.retention.as_ref().filter(|have| have.until > now) else {
            return Ok(());
        };
        let grows = wanted.is_some_and(|wanted| {
            let harder = have.mode == Mode::Governance || wanted.mode == Mode::Compliance;
            harder && wanted.until >= have.until
        });
        if grows || (have.mode == Mode::Governance && bypass == Bypass::Yes) {
            return Ok(());
        }
        Err(s3_error!(
            AccessDenied,
            "Access Denied because object protected by object lock."
        ))
    }
}
