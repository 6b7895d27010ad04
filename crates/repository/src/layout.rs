//! Where objects live: the names of everything in a store, and what a name promises.

use jiff::Timestamp;
use jiff::fmt::strtime;
use lifeboat_model::{
    EnvironmentName, IndexId, KeyId, PackId, RegionName, SessionId, SnapshotId, SourceName,
    TombstoneId,
};
use lifeboat_storage::ObjectKey;

use crate::revocation::Token;

/// The object that says which repository this is.
pub(crate) const REPOSITORY: &str = "repo.json";

/// The object that says which region this store is; the one object regions do not share.
pub(crate) const REGION: &str = "region.json";

pub(crate) const KEYS: &str = "keys/";
/// Prefix of all revocations.
pub(crate) const REVOKED: &str = "revoked/";
/// Prefix of all packs.
pub const PACKS: &str = "packs/";
/// Prefix of all index objects.
pub const INDEX: &str = "index/";
/// Prefix of all commit records.
pub const SNAPSHOTS: &str = "snapshots/";
/// Prefix of all WAL objects.
pub const WAL: &str = "wal/";
/// Prefix of the ledger.
pub const RUNS: &str = "runs/";
/// Prefix of all receipts.
pub const RECEIPTS: &str = "receipts/";

/// Prefix of the leases of sessions.
pub const LEASES: &str = "leases/";
/// Prefix of the lists of what is about to be deleted.
pub const TOMBSTONES: &str = "tombstones/";

pub(crate) fn key(text: String) -> ObjectKey {
    ObjectKey::new(text).expect("names and ids are made of characters that keys allow")
}

pub(crate) fn repository() -> ObjectKey {
    key(REPOSITORY.to_owned())
}

pub(crate) fn region() -> ObjectKey {
    key(REGION.to_owned())
}

pub(crate) fn wrapped_key(id: KeyId) -> ObjectKey {
    key(format!("{KEYS}{id}"))
}

pub(crate) fn revocation(id: KeyId, token: Token) -> ObjectKey {
    key(format!("{REVOKED}{id}/{token}"))
}

/// Returns the key of a pack.
pub fn pack(id: PackId) -> ObjectKey {
    let id = id.to_string();
    key(format!("{PACKS}{}/{id}", &id[..2]))
}

/// Returns the key of an index object.
pub fn index(id: IndexId) -> ObjectKey {
    key(format!("{INDEX}{id}"))
}

/// Which object of a session's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeasePart {
    /// The lease itself, renewed by writing the next number.
    Number(u32),
    /// The records that the session is about to commit, as their number-th batch.
    Intent(u32),
    /// Written by prune: the session must commit nothing any more.
    Fence,
    /// Written by the session: it is over.
    End,
}

impl LeasePart {
    /// Reads the last part of a key below a session's folder.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "fence" => Some(Self::Fence),
            "end" => Some(Self::End),
            _ => match name.strip_prefix("commit-") {
                Some(number) => number.parse().ok().map(Self::Intent),
                None => name.parse().ok().map(Self::Number),
            },
        }
    }
}

/// Returns the prefix of all objects of a session.
pub(crate) fn lease_folder(session: SessionId) -> String {
    format!("{LEASES}{session}/")
}

pub(crate) fn lease(session: SessionId, part: LeasePart) -> ObjectKey {
    let name = match part {
        LeasePart::Number(number) => format!("{number:08}"),
        LeasePart::Intent(number) => format!("commit-{number:08}"),
        LeasePart::Fence => "fence".to_owned(),
        LeasePart::End => "end".to_owned(),
    };
    key(format!("{LEASES}{session}/{name}"))
}

pub(crate) fn tombstone(id: TombstoneId) -> ObjectKey {
    key(format!("{TOMBSTONES}{id}"))
}

pub(crate) fn receipt(region: &RegionName, snapshot: SnapshotId) -> ObjectKey {
    key(format!("{RECEIPTS}{region}/{snapshot}"))
}

/// Returns the key of a ledger entry: `stem` names the run, `end` says which of its entries.
pub(crate) fn run(environment: &EnvironmentName, stem: &str, end: &str) -> ObjectKey {
    key(format!("{RUNS}{environment}/{stem}.{end}"))
}

/// The name of a commit record says whose snapshot it is and of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotName {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// The moment whose state the snapshot holds, to the millisecond.
    pub instant: Timestamp,
    /// BLAKE3 of the commit record's stored bytes.
    pub id: SnapshotId,
}

impl SnapshotName {
    /// Returns the key of the commit record.
    pub fn key(&self) -> ObjectKey {
        let Self {
            environment,
            source,
            instant,
            id,
        } = self;
        key(format!(
            "{SNAPSHOTS}{environment}/{source}/{}-{id}",
            compact(*instant)
        ))
    }

    /// Reads a key, or returns `None` if it is no commit record's.
    pub fn parse(key: &ObjectKey) -> Option<Self> {
        let rest = key.as_str().strip_prefix(SNAPSHOTS)?;
        let mut parts = rest.split('/');
        let (environment, source, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (instant, id) = name.split_once('-')?;
        let name = Self {
            environment: environment.parse().ok()?,
            source: source.parse().ok()?,
            instant: parse_compact(instant)?,
            id: id.parse().ok()?,
        };
        (parts.next().is_none() && name.key() == *key).then_some(name)
    }
}

/// What kind of object a key names, as far as copying and verifying it needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectClass {
    /// `repo.json`: must be the same in every region.
    Repository,
    /// A revocation of a key. Copied before keys, so that no region opens what another revoked.
    Revocation,
    /// A wrapped key.
    Key,
    /// A pack, named by its hash.
    Pack,
    /// An index object, named by its hash.
    Index,
    /// A part of a write-ahead log, whose name ends with its hash. Copied before commit records, which
    /// may need it.
    Wal,
    /// A ledger entry.
    Run,
    /// A commit record, named by its hash. Copied last.
    Snapshot,
    /// A receipt.
    Receipt,
    /// The store's own region marker: never copied.
    Region,
    /// Part of a session's lease: about this store only, never copied.
    Lease,
    /// A list of what is about to be deleted here: never copied.
    Tombstone,
    /// Nothing this version knows.
    Unknown,
}

impl ObjectClass {
    /// Returns the class of the object named `key`.
    pub fn of(key: &ObjectKey) -> ObjectClass {
        let text = key.as_str();
        let under = |prefix: &str| text.starts_with(prefix);
        match text {
            REPOSITORY => ObjectClass::Repository,
            REGION => ObjectClass::Region,
            _ if under(REVOKED) => ObjectClass::Revocation,
            _ if under(KEYS) => ObjectClass::Key,
            _ if under(PACKS) => ObjectClass::Pack,
            _ if under(INDEX) => ObjectClass::Index,
            _ if under(WAL) => ObjectClass::Wal,
            _ if under(RUNS) => ObjectClass::Run,
            _ if under(SNAPSHOTS) => ObjectClass::Snapshot,
            _ if under(RECEIPTS) => ObjectClass::Receipt,
            _ if under(LEASES) => ObjectClass::Lease,
            _ if under(TOMBSTONES) => ObjectClass::Tombstone,
            _ => ObjectClass::Unknown,
        }
    }

    /// Checks `bytes` against the hash in `key`, for the classes that are named by one.
    ///
    /// Needs no secret, so that anyone can verify a copy. `None` means the name promises nothing.
    pub fn name_matches(key: &ObjectKey, bytes: &[u8]) -> Option<bool> {
        let hash = || blake3::hash(bytes).to_hex();
        match Self::of(key) {
            Self::Pack | Self::Index => Some(key.file_name() == hash().as_str()),
            Self::Snapshot => Some(
                key.file_name()
                    .split_once('-')
                    .is_some_and(|(_, id)| id == hash().as_str()),
            ),
            Self::Wal => Some(
                key.file_name()
                    .rsplit_once('_')
                    .is_some_and(|(_, id)| id == hash().as_str()),
            ),
            _ => None,
        }
    }
}

/// Writes an instant so that text order is time order: `20261121T030405.678Z`.
pub(crate) fn compact(at: Timestamp) -> String {
    strtime::format("%Y%m%dT%H%M%S.%3fZ", &at.to_zoned(jiff::tz::TimeZone::UTC))
        .expect("every part exists for an instant")
}

pub(crate) fn parse_compact(text: &str) -> Option<Timestamp> {
    let civil = text.strip_suffix('Z')?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S.%3f", civil).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Drops what a commit record's name cannot hold: an instant's digits beyond the millisecond.
pub(crate) fn truncate_instant(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("fewer digits stay in range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_name_survives_its_key() {
        let name = SnapshotName {
            environment: "prod".parse().unwrap(),
            source: "shop-db".parse().unwrap(),
            instant: "2026-11-21T03:04:05.678Z".parse().unwrap(),
            id: SnapshotId::from_bytes([0xab; 32]),
        };
        let key = name.key();
        assert!(
            key.as_str()
                .starts_with("snapshots/prod/shop-db/20261121T030405.678Z-abab")
        );
        assert_eq!(SnapshotName::parse(&key), Some(name));
    }

    #[test]
    fn foreign_names_are_not_snapshots() {
        for bad in [
            "snapshots/prod/x",
            "snapshots/prod/db/2026-xx",
            "packs/aa/bb",
        ] {
            assert_eq!(
                SnapshotName::parse(&ObjectKey::new(bad).unwrap()),
                None,
                "{bad}"
            );
        }
    }

    #[test]
    fn anyone_can_check_a_copy_by_its_name() {
        let bytes = b"sealed";
        let id = PackId::from_bytes(*blake3::hash(bytes).as_bytes());
        assert_eq!(ObjectClass::name_matches(&pack(id), bytes), Some(true));
        assert_eq!(ObjectClass::name_matches(&pack(id), b"sealeD"), Some(false));
    }
}
