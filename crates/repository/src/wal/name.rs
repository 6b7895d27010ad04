//! Where WAL objects lie, and what their names say.

use std::ops::Range;

use jiff::Timestamp;
use lifeboat_model::{
    Branch, EnvironmentName, Lsn, SourceName, SystemId, Timeline, WalFileName, WalObject,
};
use lifeboat_storage::{ObjectKey, ObjectMeta};

use crate::layout::{self, WAL};

/// Whose write-ahead log: one cluster, as one source.
///
/// A cluster that was made anew or upgraded has another system id, and so another place: logs of two
/// clusters never mix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPlace {
    /// The environment.
    pub environment: EnvironmentName,
    /// The source.
    pub source: SourceName,
    /// The cluster.
    pub system: SystemId,
}

impl WalPlace {
    /// Returns the prefix of all objects of a source.
    pub(crate) fn folder_of(environment: &EnvironmentName, source: &SourceName) -> String {
        format!("{WAL}{environment}/{source}/")
    }

    /// Returns the prefix of all objects of the place.
    pub(crate) fn folder(&self) -> String {
        let Self {
            environment,
            source,
            system,
        } = self;
        format!("{}{system}/", Self::folder_of(environment, source))
    }

    /// Returns the prefix of all objects of one timeline.
    pub(crate) fn folder_of_timeline(&self, timeline: Timeline) -> String {
        format!("{}{:08X}/", self.folder(), timeline.get())
    }

    /// Returns the prefix of the objects that lie beside those of `file`: at most 4 GiB of log.
    pub(crate) fn folder_beside(&self, file: WalFileName) -> String {
        let folder = self.folder_of_timeline(file.timeline());
        match file {
            WalFileName::History(_) => format!("{folder}history/"),
            WalFileName::Segment(segment)
            | WalFileName::Partial(segment)
            | WalFileName::Backup(segment, _) => {
                format!("{folder}{:08X}/", segment.log)
            }
        }
    }

    /// Returns where the objects of a file lie, with its name: what their keys begin with.
    pub fn path_of(&self, file: WalFileName) -> String {
        format!("{}{file}", self.folder_beside(file))
    }

    /// Returns the key of an object.
    pub fn key(&self, object: &WalObject) -> ObjectKey {
        layout::key(format!("{}_{}", self.stem(object), object.hash))
    }

    /// Returns the key of an object up to its hash: what is authenticated with its bytes.
    pub(crate) fn stem(&self, object: &WalObject) -> String {
        let detail = match (&object.piece, object.branch) {
            (Some(Range { start, end }), _) => format!("-{start:08x}-{end:08x}"),
            (None, Some(Branch { parent, at })) => {
                format!("-{:08x}-{:016x}", parent.get(), at.get())
            }
            (None, None) => String::new(),
        };
        let commit = object.newest_commit.map_or(0, Timestamp::as_microsecond);
        let (folder, file) = (self.folder_beside(object.file), object.file);
        format!("{folder}{file}{detail}_{commit}_{}", object.content)
    }

    /// Reads the key of an object, or returns `None` if it is no WAL object's.
    pub fn parse(meta: &ObjectMeta) -> Option<(Self, WalObject)> {
        let rest = meta.key.as_str().strip_prefix(WAL)?;
        let mut parts = rest.split('/');
        let place = Self {
            environment: parts.next()?.parse().ok()?,
            source: parts.next()?.parse().ok()?,
            system: parts.next()?.parse().ok()?,
        };
        let object = parse_name(meta.key.file_name(), meta.size)?;
        // Whatever is written otherwise than we would write it is not ours.
        (place.key(&object) == meta.key).then_some((place, object))
    }
}

fn parse_name(name: &str, stored_len: u64) -> Option<WalObject> {
    let mut parts = name.split('_');
    let (what, commit) = (parts.next()?, parts.next()?);
    let (content, hash) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (file, detail) = match what.split_once('-') {
        None => (what, None),
        Some((file, detail)) => (file, Some(detail.split_once('-')?)),
    };
    let file = file.parse().ok()?;
    let (piece, branch) = match (file, detail) {
        (_, None) => (None, None),
        (WalFileName::Segment(_), Some(range)) => (Some(parse_piece(range)?), None),
        (WalFileName::History(_), Some(branch)) => (None, Some(parse_branch(branch)?)),
        (WalFileName::Partial(_) | WalFileName::Backup(..), Some(_)) => return None,
    };
    let newest_commit = match commit.parse().ok()? {
        0 => None,
        micros => Some(Timestamp::from_microsecond(micros).ok()?),
    };
    Some(WalObject {
        file,
        piece,
        branch,
        newest_commit,
        content,
        hash,
        stored_len,
    })
}

/// Reads a piece's range; none is empty.
fn parse_piece((start, end): (&str, &str)) -> Option<Range<u32>> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let piece = number(start)?..number(end)?;
    (!piece.is_empty()).then_some(piece)
}

fn parse_branch((parent, at): (&str, &str)) -> Option<Branch> {
    Some(Branch {
        parent: Timeline::new(u32::from_str_radix(parent, 16).ok()?),
        at: Lsn::new(u64::from_str_radix(at, 16).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use lifeboat_model::{WalContentId, WalHash};

    use super::*;
    use crate::layout::ObjectClass;

    fn place() -> WalPlace {
        WalPlace {
            environment: "prod".parse().unwrap(),
            source: "shop".parse().unwrap(),
            system: SystemId::new(7_301_234_567_890_123_456),
        }
    }

    fn object(file: &str) -> WalObject {
        WalObject {
            file: file.parse().unwrap(),
            piece: None,
            branch: None,
            newest_commit: None,
            content: WalContentId::from_bytes([0xcc; 16]),
            hash: WalHash::from_bytes([0xab; 32]),
            stored_len: 99,
        }
    }

    #[test]
    fn a_wal_object_survives_its_key() {
        let piece = WalObject {
            piece: Some(0x2000..0x1_0000),
            newest_commit: Some("2026-11-21T03:04:05.678901Z".parse().unwrap()),
            ..object("0000000200000001000000FE")
        };
        let key = place().key(&piece);
        let stem = "wal/prod/shop/7301234567890123456/00000002/00000001/\
                    0000000200000001000000FE-00002000-00010000_1795230245678901_cccc";
        assert!(key.as_str().starts_with(stem), "{key}");
        assert_eq!(ObjectClass::of(&key), ObjectClass::Wal);
        for object in [
            piece,
            object("000000010000000000000001"),
            object("000000010000000000000001.partial"),
            object("000000010000000000000001.00000028.backup"),
            object("00000002.history"),
            WalObject {
                branch: Some(Branch {
                    parent: Timeline::new(1),
                    at: Lsn::new(0x1_0300_0150),
                }),
                ..object("00000002.history")
            },
        ] {
            let meta = ObjectMeta {
                key: place().key(&object),
                size: 99,
            };
            assert_eq!(WalPlace::parse(&meta), Some((place(), object)));
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_wal_object() {
        let good = place().key(&object("000000010000000000000001"));
        for (from, to) in [
            ("/00000001/00000000/", "/00000001/00000001/"),
            ("_0_", "_00_"),
            ("_0_", "_-1_x"),
            ("prod", "PROD"),
            ("73012", "+73012"),
            ("000000000001_", "000000000001-00000008-00000008_"),
            ("000000000001_", "000000000001-8-9_"),
            ("000000000001_", "000000000001.partial-00000000-00000008_"),
        ] {
            let key = ObjectKey::new(good.as_str().replacen(from, to, 1));
            let Ok(key) = key else { continue };
            assert_ne!(key, good);
            assert_eq!(WalPlace::parse(&ObjectMeta { key, size: 0 }), None, "{to}");
        }
    }
}
