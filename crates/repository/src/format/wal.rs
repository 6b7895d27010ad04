//! WAL objects: one file of a write-ahead log, or a piece of a segment, in one object.
//!
//! ```text
//! header (48) | raw length, u32 LE | frames, u32 LE | for each: stored length, raw length, u32 LE | frame | …
//! ```
//! Sealed for readers only, as the frames of a data pack are. What the object is called, up to the
//! hash of its own bytes, is authenticated with every frame, so that one cannot pass for another.
//! Zeros at the end of the content are not stored: a segment that was switched early is mostly zeros.

use lifeboat_model::RepositoryId;

use crate::compress::decompress;
use crate::crypto::{Sealer, SymmetricKey, TAG_LEN};
use crate::error::Flaw;
use crate::format::{HEADER_LEN, Kind, header, parse_header};

/// The longest segment that `initdb` makes; a parser must not believe more.
pub(crate) const RAW_MAX: u32 = 1 << 30;
/// Content is cut into frames of so many bytes; the last may be shorter. A segment of the usual length
/// keeps two threads busy; shorter frames would cost bytes, as matches do not cross from one to the next.
pub(crate) const FRAME_LEN: usize = 8 << 20;
/// What a parser takes for one frame.
const FRAME_RAW_MAX: u32 = 16 << 20;
/// What a parser takes for one object.
const FRAMES_MAX: u32 = 1024;

/// Header and the part of the table before its rows.
const TABLE_START: usize = HEADER_LEN + 8;
const ROW_LEN: usize = 8;
/// Header and table are never longer than this.
pub(crate) const HEAD_MAX: u64 = (TABLE_START + FRAMES_MAX as usize * ROW_LEN) as u64;

/// One frame of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalFrame {
    /// Length in the object, seal included.
    stored_len: u32,
    /// Length of what it holds; it is compressed if that is more than what was sealed.
    raw_len: u32,
}

/// What can be read of a WAL object without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalHead {
    salt: [u8; 32],
    /// Length of the content, bytes.
    pub(crate) raw_len: u32,
    frames: Vec<WalFrame>,
}

/// A frame ready to be sealed.
pub(crate) struct PlainFrame {
    /// Compressed if shorter than `raw_len`.
    pub(crate) bytes: Vec<u8>,
    pub(crate) raw_len: u32,
}

/// Seals frames that hold all but the last zeros of `raw_len` bytes.
pub(crate) fn seal(
    repository: RepositoryId,
    (salt, key): &([u8; 32], SymmetricKey),
    stem: &str,
    raw_len: u32,
    frames: &[PlainFrame],
) -> Vec<u8> {
    let mut out = header(Kind::Wal, salt).to_vec();
    out.reserve(frames.iter().map(|frame| frame.bytes.len() + 64).sum());
    out.extend_from_slice(&raw_len.to_le_bytes());
    out.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    for frame in frames {
        out.extend_from_slice(&((frame.bytes.len() + TAG_LEN) as u32).to_le_bytes());
        out.extend_from_slice(&frame.raw_len.to_le_bytes());
    }
    let sealer = Sealer::new(key, repository, &[&out, stem.as_bytes()].concat());
    for (number, frame) in frames.iter().enumerate() {
        sealer.seal(number as u64, &frame.bytes, &mut out);
    }
    out
}

impl WalHead {
    /// Reads header and table from the first bytes of an object of `stored_len` bytes.
    pub(crate) fn parse(bytes: &[u8], stored_len: u64) -> Result<Self, Flaw> {
        let cut = || Flaw::damaged("it is cut short");
        let contradicts = || Flaw::damaged("its table's numbers do not agree");
        let salt = parse_header(bytes, Kind::Wal)?;
        let (lens, rows) = bytes[HEADER_LEN..]
            .split_first_chunk::<8>()
            .ok_or_else(cut)?;
        let raw_len = word(&lens[..4]);
        let count = word(&lens[4..]);
        if raw_len > RAW_MAX || !(1..=FRAMES_MAX).contains(&count) {
            return Err(contradicts());
        }
        let rows = rows.get(..count as usize * ROW_LEN).ok_or_else(cut)?;
        let frames: Vec<WalFrame> = rows
            .chunks_exact(ROW_LEN)
            .map(|row| WalFrame {
                stored_len: word(&row[..4]),
                raw_len: word(&row[4..]),
            })
            .collect();
        let head = Self {
            salt,
            raw_len,
            frames,
        };
        let raw: u64 = head
            .frames
            .iter()
            .map(|frame| u64::from(frame.raw_len))
            .sum();
        let sound = head.frames.iter().all(WalFrame::is_sound) && raw <= u64::from(raw_len);
        if head.places().last().map(|(_, end)| end) != Some(stored_len) || !sound {
            return Err(contradicts());
        }
        Ok(head)
    }

    /// Returns the salt: the encapsulated key.
    pub(crate) fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// Returns the frames in order, each with the byte of the object after its last.
    pub(crate) fn places(&self) -> impl Iterator<Item = (WalFrame, u64)> {
        let mut end = (TABLE_START + self.frames.len() * ROW_LEN) as u64;
        self.frames.iter().map(move |frame| {
            end += u64::from(frame.stored_len);
            (*frame, end)
        })
    }

    /// Makes what opens the frames of `object`, which is called `stem` up to its hash.
    pub(crate) fn opener(
        &self,
        repository: RepositoryId,
        key: &SymmetricKey,
        object: &[u8],
        stem: &str,
    ) -> Sealer {
        let head = &object[..TABLE_START + self.frames.len() * ROW_LEN];
        Sealer::new(key, repository, &[head, stem.as_bytes()].concat())
    }
}

impl WalFrame {
    fn is_sound(&self) -> bool {
        let plain = (self.stored_len as usize).checked_sub(TAG_LEN);
        self.raw_len <= FRAME_RAW_MAX && plain.is_some_and(|plain| plain <= self.raw_len as usize)
    }

    /// Opens frame `number`, given as it lies in the object.
    pub(crate) fn open(self, opener: &Sealer, number: u64, sealed: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut sealed = sealed.to_vec();
        let plain = opener
            .open(number, &mut sealed)
            .ok_or_else(|| Flaw::damaged(format!("frame {number} is not authentic")))?
            .len();
        sealed.truncate(plain);
        if plain == self.raw_len as usize {
            return Ok(sealed);
        }
        decompress(&sealed, self.raw_len as usize)
            .ok_or_else(|| Flaw::damaged(format!("frame {number} does not decompress")))
    }

    /// Returns its length in the object.
    pub(crate) fn stored_len(self) -> u64 {
        u64::from(self.stored_len)
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}
