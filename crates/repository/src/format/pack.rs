//! Packs: many frames in one object.
//!
//! ```text
//! header (48) | frame | frame | … | sealed directory | directory length, u32 LE | "LBPACK01"
//! ```
//! A frame holds one or more chunks, compressed together and sealed under the pack's own key. In a
//! data pack that key can be recovered only with the content private key (the header's salt is an
//! HPKE encapsulation); in a metadata pack, and for the directory of both, it derives from the
//! metadata key and the salt.
//!
//! A frame can move to another pack as it is, sealed: the directory says under which pack's salt and
//! number it was sealed. So space can be reclaimed by who cannot read content.

use lifeboat_model::{PackId, RepositoryId};
use lifeboat_runtime::Entropy;
use serde::{Deserialize, Serialize};

use crate::compress::decompress;
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirectoryV1 {
    /// Salts of the packs that the frames were sealed for; the first is this pack's own.
    pub(crate) origins: Vec<[u8; 32]>,
    pub(crate) frames: Vec<FrameV1>,
}

/// One frame; frames follow each other from the end of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrameV1 {
    /// Length in the pack, seal included.
    pub(crate) stored_len: u32,
    /// Length of its chunks together.
    pub(crate) raw_len: u32,
    /// zstd, else stored as it is.
    pub(crate) compressed: bool,
    /// Number of the salt in [`DirectoryV1::origins`] that it was sealed under.
    pub(crate) origin: u32,
    /// Its number in the pack that it was sealed for.
    pub(crate) number: u32,
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
    /// Seals new frames; `None` in a pack of moved ones.
    frames: Option<Sealer>,
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
        let mut builder = Self::empty(kind, repository, keys.metadata(), salt);
        let bound = header(kind.header_kind(), &salt);
        builder.frames = Some(Sealer::new(&frame_key, repository, &bound));
        Ok(builder)
    }

    /// Makes a pack for frames of other packs, which stay sealed as they are.
    ///
    /// Its salt is random and encapsulates nothing: no frame is ever sealed under it.
    pub(crate) fn for_moved_frames(
        kind: PackKind,
        repository: RepositoryId,
        metadata: &SymmetricKey,
        entropy: &dyn Entropy,
    ) -> Self {
        Self::empty(kind, repository, metadata, entropy.bytes())
    }

    fn empty(
        kind: PackKind,
        repository: RepositoryId,
        metadata: &SymmetricKey,
        salt: [u8; 32],
    ) -> Self {
        let header = header(kind.header_kind(), &salt);
        let directory_key = metadata.for_object(DIRECTORY_LABEL, &salt);
        Self {
            kind,
            bytes: header.to_vec(),
            directory: DirectoryV1 {
                origins: vec![salt],
                frames: Vec::new(),
            },
            frames: None,
            directory_sealer: Sealer::new(&directory_key, repository, &header),
        }
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
        let number = self.directory.frames.len() as u32;
        let before = self.bytes.len();
        let sealer = self
            .frames
            .as_ref()
            .expect("a pack of moved frames gets no new ones");
        sealer.seal(u64::from(number), &frame.bytes, &mut self.bytes);
        let stored_len = u32::try_from(self.bytes.len() - before).expect("frames are small");
        self.directory.frames.push(FrameV1 {
            stored_len,
            raw_len: frame.raw_len,
            compressed: frame.compressed,
            origin: 0,
            number,
            chunks: frame.chunks,
        });
    }

    /// Takes over a frame as it lies in another pack, with what that pack's directory says of it.
    pub(crate) fn push_moved(&mut self, from: &DirectoryV1, frame: &FrameV1, sealed: &[u8]) {
        debug_assert_eq!(sealed.len(), frame.stored_len as usize);
        let salt = from.origins[frame.origin as usize];
        let origins = &mut self.directory.origins;
        let origin = match origins.iter().position(|known| *known == salt) {
            Some(known) => known,
            None => {
                origins.push(salt);
                origins.len() - 1
            }
        };
        self.bytes.extend_from_slice(sealed);
        self.directory.frames.push(FrameV1 {
            origin: origin as u32,
            ..frame.clone()
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

/// Opens the frames that were sealed under one salt.
pub(crate) struct FrameOpener(Sealer);

impl FrameOpener {
    /// Recovers the key that belongs to a salt.
    pub(crate) fn new(
        kind: PackKind,
        repository: RepositoryId,
        keys: &KeyRing,
        salt: &[u8; 32],
    ) -> Result<Result<Self, Flaw>, RepositoryError> {
        let key = match kind {
            PackKind::Metadata => Some(keys.metadata().for_object(FRAMES_LABEL, salt)),
            PackKind::Data => keys.content_private()?.decapsulate(repository, salt),
        };
        let bound = header(kind.header_kind(), salt);
        Ok(key
            .map(|key| Self(Sealer::new(&key, repository, &bound)))
            .ok_or_else(|| Flaw::damaged("its key cannot be recovered")))
    }

    /// Opens a frame, given as it lies in the pack, and returns its chunks' bytes together.
    pub(crate) fn open(&self, frame: &FrameV1, mut sealed: Vec<u8>) -> Result<Vec<u8>, Flaw> {
        let number = frame.number;
        let plain = self
            .0
            .open(u64::from(number), &mut sealed)
            .ok_or_else(|| Flaw::damaged(format!("frame {number} is not authentic")))?
            .len();
        if !frame.compressed {
            sealed.truncate(plain);
            return Ok(sealed);
        }
        let raw_len = frame.raw_len.min(FRAME_RAW_MAX) as usize;
        decompress(&sealed[..plain], raw_len)
            .ok_or_else(|| Flaw::damaged(format!("frame {number} does not decompress")))
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
    DirectoryV1::read(plain, start as u64, &salt)
}

impl DirectoryV1 {
    /// Reads a directory that begins at byte `start` of the pack with this salt.
    pub(crate) fn read(plain: &[u8], start: u64, salt: &[u8; 32]) -> Result<Self, Flaw> {
        let (directory, rest) = postcard::take_from_bytes::<Self>(plain)
            .map_err(|_| Flaw::damaged("its directory cannot be read"))?;
        let own_salt = directory.origins.first() == Some(salt);
        if directory.frames_end() != start || !rest.is_empty() || !own_salt {
            return Err(Flaw::damaged("its directory does not fit the pack"));
        }
        if !directory.is_sound() {
            return Err(Flaw::damaged("its directory's numbers do not agree"));
        }
        Ok(directory)
    }

    /// Returns the byte of the pack after the last frame.
    pub(crate) fn frames_end(&self) -> u64 {
        let frames = self.frames.iter().map(|frame| u64::from(frame.stored_len));
        HEADER_LEN as u64 + frames.sum::<u64>()
    }

    /// Reports whether the directory's numbers agree with each other.
    pub(crate) fn is_sound(&self) -> bool {
        let known = |frame: &FrameV1| (frame.origin as usize) < self.origins.len();
        self.frames
            .iter()
            .all(|frame| frame.is_sound() && known(frame))
    }
}

impl FrameV1 {
    /// Reports whether the frame's numbers agree with each other.
    fn is_sound(&self) -> bool {
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
    use crate::keys::RootSecret;
    use crate::role::Role;

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
        let frame = &pack.directory.frames[1];
        let salt = &pack.directory.origins[frame.origin as usize];
        let opener = FrameOpener::new(pack.kind, REPOSITORY, keys, salt).unwrap()?;
        opener.open(frame, second(pack).to_vec())
    }

    fn second(pack: &FinishedPack) -> &[u8] {
        let frames = &pack.directory.frames;
        let start = HEADER_LEN + frames[0].stored_len as usize;
        &pack.bytes[start..start + frames[1].stored_len as usize]
    }

    #[test]
    fn a_moved_frame_opens_for_readers_and_was_moved_without_their_key() {
        let old = pack(PackKind::Data);
        let auditor = keys().narrowed(Role::Auditor);
        let moved = PackBuilder::for_moved_frames;
        let entropy = SeededEntropy::new(3);
        let mut builder = moved(PackKind::Data, REPOSITORY, auditor.metadata(), &entropy);
        // Twice, so that the moved frame is the second one and came from a pack that moved it, too.
        for _ in 0..2 {
            builder.push_moved(&old.directory, &old.directory.frames[1], second(&old));
        }
        let new = builder.finish();
        assert_eq!(open_second(&new, &keys()).unwrap(), b"second");
        let mut builder = moved(PackKind::Data, REPOSITORY, auditor.metadata(), &entropy);
        for _ in 0..2 {
            builder.push_moved(&new.directory, &new.directory.frames[1], second(&new));
        }
        let newest = builder.finish();
        assert_eq!(open_second(&newest, &keys()).unwrap(), b"second");
        let writer = keys().narrowed(Role::Writer);
        let directory = read_directory(newest.kind, REPOSITORY, writer.metadata(), &newest.bytes);
        assert_eq!(directory.unwrap(), newest.directory);
    }

    #[test]
    fn frames_open_for_readers_and_never_for_the_writer() {
        let pack = pack(PackKind::Data);
        assert_eq!(open_second(&pack, &keys()).unwrap(), b"second");
        let writer = keys().narrowed(Role::Writer);
        let salt = &pack.directory.origins[0];
        assert!(FrameOpener::new(pack.kind, REPOSITORY, &writer, salt).is_err());
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
    fn a_directory_whose_numbers_disagree_is_refused() {
        let directory = pack(PackKind::Data).directory;
        let read = |directory: &DirectoryV1, start| {
            let plain = postcard::to_allocvec(directory).unwrap();
            DirectoryV1::read(&plain, start, &directory.origins[0]).map(|_| ())
        };
        let end = directory.frames_end();
        assert_eq!(read(&directory, end), Ok(()));
        assert!(read(&directory, end + 1).is_err());
        let mut wrong = directory.clone();
        wrong.frames[0].raw_len += 1;
        assert!(read(&wrong, end).is_err(), "chunks do not add up");
        let mut longer = postcard::to_allocvec(&directory).unwrap();
        longer.push(0);
        assert!(
            DirectoryV1::read(&longer, end, &directory.origins[0]).is_err(),
            "bytes are left over"
        );
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
