//! The stored format, version 1: bytes and nothing but bytes. `docs/format.md` draws it.
//!
//! Every parser here takes bytes from an untrusted store: it bounds what it allocates and never
//! panics. The stored structs are kept apart from the model, so that the model may change.

pub(crate) mod commit;
pub(crate) mod index;
pub(crate) mod manifest;
pub(crate) mod pack;
pub(crate) mod sealed;
pub(crate) mod wal;

/// The format version this program writes, and the newest it reads.
pub(crate) const VERSION: u8 = 1;

/// What every sealed object and pack begins with.
pub(crate) const MAGIC: &[u8; 8] = b"LIFEBOAT";

/// The kind byte after magic and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    DataPack = 1,
    MetadataPack = 2,
    Index = 3,
    Commit = 4,
    WrappedKey = 5,
    Wal = 6,
}

/// Length of the header: magic, version, kind, six zero bytes, 32 bytes of salt.
pub(crate) const HEADER_LEN: usize = 48;

/// Writes a header.
pub(crate) fn header(kind: Kind, salt: &[u8; 32]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8] = VERSION;
    header[9] = kind as u8;
    header[16..].copy_from_slice(salt);
    header
}

/// Checks a header of the kind expected and returns its salt.
pub(crate) fn parse_header(bytes: &[u8], kind: Kind) -> Result<[u8; 32], crate::error::Flaw> {
    use crate::error::Flaw;
    let header = bytes
        .get(..HEADER_LEN)
        .ok_or_else(|| Flaw::damaged("it is cut short"))?;
    if header[..8] != *MAGIC {
        return Err(Flaw::damaged("it does not begin as a Lifeboat object does"));
    }
    if header[8] > VERSION {
        return Err(Flaw::Newer(u32::from(header[8])));
    }
    if header[9] != kind as u8 || header[8] == 0 || header[10..16] != [0; 6] {
        return Err(Flaw::damaged("its header is not that of its kind"));
    }
    Ok(header[16..].try_into().expect("a header has 48 bytes"))
}
