//! Packs: many frames in one object.
//!
//! ```text
//! header (48) | frame | frame | … | sealed directory | directory length, u32 LE | "LBPACK01"
//! ```
//! A frame holds one or more chunks, compressed together and sealed under the pack's own key. In a
//! data pack that key can be recovered only with the content private key (the header's salt is an
//! HPKE encapsulation); in a metadata pack, and for the directory of both, it derives from the
//! metadata key and the salt.

use lifeboat_model::{PackId, RepositoryId};
use lifeboat_runtime::Entropy;
use serde::{Deserialize, Serialize};

use crate::crypto::{Sealer, SymmetricKey, TAG_LEN};
use crate::error::{Flaw, RepositoryError};
use crate::format::{HEADER_LEN, Kind, header, parse_header};
use crate::keys::KeyRing;

const FOOTER_MAGIC: &[u8; 8] = b"LBPACK01";
/// Directory length and magic.
pub(crate) const FOOTER_LEN: usize = 12;
/// The directory's piece number: far above any frame's.
const DIRECTORY_NUMBER: u64 = u64::MAX;
/// No frame is larger when opened; a parser must not believe more.
pub(crate) const FRAME_RAW_MAX: u32 = 64 << 20;

const FRAMES_LABEL: &str = "lifeboat v1 metadata frames";
const DIRECTORY_LABEL: &str = "lifeboat v1 pack directory";

/// Which kind of pack: who can read its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PackKind {
    /// Content: readers only.
    Data,
    /// Manifests and page maps: whoever holds the metadata key.
    Metadata,
}

impl PackKind {
    fn header_kind(self) -> Kind {
        match self {
            PackKind::Data => Kind::DataPack,
            PackKind::Metadata => Kind::MetadataPack,
        }
    }
}

/// What a pack holds, frame by frame.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DirectoryV1 {
    pub(crate) frames: Vec<FrameV1>,
}

/// One frame; frames follow each other from the end of the header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FrameV1 {
    /// Length in the pack, seal included.
    pub(crate) stored_len: u32,
    /// Length of its chunks together.
    pub(crate) raw_len: u32,
    /// zstd, else stored as it is.
    pub(crate) compressed: bool,
    /// Its chunks in order: id and length.
    pub(crate) chunks: Vec<([u8; 32], u32)>,
}

/// A frame ready to be sealed into a pack.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) raw_len: u32,
    pub(crate) compressed: bool,
    pub(crate) chunks: Vec<([u8; 32], u32)>,
}

/// Collects frames into a pack object.
pub(crate) struct PackBuilder {
    kind: PackKind,
    bytes: Vec<u8>,
    directory: DirectoryV1,
    frames: Sealer,
    directory_sealer: Sealer,
}

/// A finished pack.
#[derive(Debug)]
pub(crate) struct FinishedPack {
    pub(crate) id: PackId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) directory: DirectoryV1,
    pub(crate) kind: PackKind,
}

impl PackBuilder {
    pub(crate) fn new(
        kind: PackKind,
        repository: RepositoryId,
        keys: &KeyRing,
        entropy: &dyn Entropy,
    ) -> Result<Self, RepositoryError> {
        let (salt, frame_key) = match kind {
            PackKind::Data => keys.content_public()?.encapsulate(repository, entropy),
            PackKind::Metadata => {
                let salt = entropy.bytes();
                (salt, keys.metadata().for_object(FRAMES_LABEL, &salt))
            }
        };
        let header = header(kind.header_kind(), &salt);
        let directory_key = keys.metadata().for_object(DIRECTORY_LABEL, &salt);
        Ok(Self {
            kind,
            bytes: header.to_vec(),
            directory: DirectoryV1::default(),
            frames: Sealer::new(&frame_key, repository, &header),
            directory_sealer: Sealer::new(&directory_key, repository, &header),
        })
    }

    /// Goes on in a buffer that has room already: growing by and by would need old and new room
    /// together.
    pub(crate) fn in_buffer(mut self, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&self.bytes);
        self.bytes = buffer;
        self
    }

    /// Returns the length of the pack so far, bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        let number = self.directory.frames.len() as u64;
        let before = self.bytes.len();
        self.frames.seal(number, &frame.bytes, &mut self.bytes);
        let stored_len = u32::try_from(self.bytes.len() - before).expect("frames are small");
        self.directory.frames.push(FrameV1 {
            stored_len,
            raw_len: frame.raw_len,
            compressed: frame.compressed,
            chunks: frame.chunks,
        });
    }

    pub(crate) fn finish(mut self) -> FinishedPack {
        let plain = postcard::to_allocvec(&self.directory).expect("it serializes into memory");
        let before = self.bytes.len();
        self.directory_sealer
            .seal(DIRECTORY_NUMBER, &plain, &mut self.bytes);
        let len = u32::try_from(self.bytes.len() - before).expect("a directory is small");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(FOOTER_MAGIC);
        let id = PackId::from_bytes(*blake3::hash(&self.bytes).as_bytes());
        FinishedPack {
            id,
            bytes: self.bytes,
            directory: self.directory,
            kind: self.kind,
        }
    }
}

/// Opens the frames of one pack.
pub(crate) struct FrameOpener(Sealer);

impl FrameOpener {
    /// Recovers the pack's key from its header.
    pub(crate) fn new(
        kind: PackKind,
        repository: RepositoryId,
        keys: &KeyRing,
        header: &[u8],
    ) -> Result<Result<Self, Flaw>, RepositoryError> {
        let salt = match parse_header(header, kind.header_kind()) {
            Ok(salt) => salt,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let key = match kind {
            PackKind::Metadata => Some(keys.metadata().for_object(FRAMES_LABEL, &salt)),
            PackKind::Data => keys.content_private()?.decapsulate(repository, &salt),
        };
        let bound = &header[..HEADER_LEN];
        Ok(key
            .map(|key| Self(Sealer::new(&key, repository, bound)))
            .ok_or_else(|| Flaw::damaged("its key cannot be recovered")))
    }

    /// Opens frame `number`, given as it lies in the pack, and returns its chunks' bytes together.
    pub(crate) fn open(
        &self,
        number: u64,
        frame: &FrameV1,
        mut sealed: Vec<u8>,
    ) -> Result<Vec<u8>, Flaw> {
        let plain = self
            .0
            .open(number, &mut sealed)
            .ok_or_else(|| Flaw::damaged(format!("frame {number} is not authentic")))?
            .len();
        if !frame.compressed {
            sealed.truncate(plain);
            return Ok(sealed);
        }
        let raw_len = frame.raw_len.min(FRAME_RAW_MAX) as usize;
        zstd::bulk::decompress(&sealed[..plain], raw_len)
            .map_err(|_| Flaw::damaged(format!("frame {number} does not decompress")))
    }
}

/// Reads a pack's own directory: what to rebuild an index from.
pub(crate) fn read_directory(
    kind: PackKind,
    repository: RepositoryId,
    metadata: &SymmetricKey,
    pack: &[u8],
) -> Result<DirectoryV1, Flaw> {
    let salt = parse_header(pack, kind.header_kind())?;
    let cut = || Flaw::damaged("it is cut short");
    let (rest, footer) = pack.split_last_chunk::<FOOTER_LEN>().ok_or_else(cut)?;
    if footer[4..] != *FOOTER_MAGIC {
        return Err(cut());
    }
    let len = u32::from_le_bytes(footer[..4].try_into().expect("four bytes")) as usize;
    let start = rest
        .len()
        .checked_sub(len)
        .filter(|at| *at >= HEADER_LEN)
        .ok_or_else(cut)?;
    let key = metadata.for_object(DIRECTORY_LABEL, &salt);
    let sealer = Sealer::new(&key, repository, &pack[..HEADER_LEN]);
    let mut sealed = rest[start..].to_vec();
    let plain = sealer
        .open(DIRECTORY_NUMBER, &mut sealed)
        .ok_or_else(|| Flaw::damaged("its directory is not authentic"))?;
    let directory: DirectoryV1 =
        postcard::from_bytes(plain).map_err(|_| Flaw::damaged("its directory cannot be read"))?;
    let frames: u64 = directory
        .frames
        .iter()
        .map(|frame| u64::from(frame.stored_len))
        .sum();
    if HEADER_LEN as u64 + frames != start as u64 {
        return Err(Flaw::damaged("its directory does not fit its length"));
    }
    Ok(directory)
}

impl FrameV1 {
    /// Reports whether the frame's numbers agree with each other.
    pub(crate) fn is_sound(&self) -> bool {
        let chunks: u64 = self.chunks.iter().map(|(_, len)| u64::from(*len)).sum();
        self.raw_len <= FRAME_RAW_MAX
            && chunks == u64::from(self.raw_len)
            && self.stored_len as usize >= TAG_LEN
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_runtime::SeededEntropy;

    use super::*;
    use crate::keys::{Role, RootSecret};

    const REPOSITORY: RepositoryId = RepositoryId::from_bytes([1; 16]);

    fn keys() -> KeyRing {
        RootSecret::generate(&SeededEntropy::new(1)).key_ring()
    }

    fn pack(kind: PackKind) -> FinishedPack {
        let entropy = SeededEntropy::new(2);
        let mut builder =
            PackBuilder::new(kind, REPOSITORY, &keys().narrowed(Role::Writer), &entropy).unwrap();
        for text in [b"first".as_slice(), b"second"] {
            builder.push(Frame {
                bytes: text.to_vec(),
                raw_len: text.len() as u32,
                compressed: false,
                chunks: vec![([text[0]; 32], text.len() as u32)],
            });
        }
        builder.finish()
    }

    fn open_second(pack: &FinishedPack, keys: &KeyRing) -> Result<Vec<u8>, Flaw> {
        let opener = FrameOpener::new(pack.kind, REPOSITORY, keys, &pack.bytes).unwrap()?;
        let frames = &pack.directory.frames;
        let start = HEADER_LEN + frames[0].stored_len as usize;
        let sealed = pack.bytes[start..start + frames[1].stored_len as usize].to_vec();
        opener.open(1, &frames[1], sealed)
    }

    #[test]
    fn frames_open_for_readers_and_never_for_the_writer() {
        let pack = pack(PackKind::Data);
        assert_eq!(open_second(&pack, &keys()).unwrap(), b"second");
        let writer = keys().narrowed(Role::Writer);
        assert!(FrameOpener::new(pack.kind, REPOSITORY, &writer, &pack.bytes).is_err());
    }

    #[test]
    fn a_writer_reads_metadata_packs_and_every_directory() {
        let writer = keys().narrowed(Role::Writer);
        let metadata_pack = pack(PackKind::Metadata);
        assert_eq!(open_second(&metadata_pack, &writer).unwrap(), b"second");
        for pack in [metadata_pack, pack(PackKind::Data)] {
            let directory =
                read_directory(pack.kind, REPOSITORY, writer.metadata(), &pack.bytes).unwrap();
            assert_eq!(directory.frames.len(), 2);
        }
    }

    #[test]
    fn a_truncated_or_changed_pack_has_no_directory() {
        let pack = pack(PackKind::Data);
        let read = |bytes: &[u8]| {
            read_directory(pack.kind, REPOSITORY, keys().metadata(), bytes).map(|_| ())
        };
        assert!(read(&pack.bytes).is_ok());
        for cut in 0..pack.bytes.len() {
            assert!(read(&pack.bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
