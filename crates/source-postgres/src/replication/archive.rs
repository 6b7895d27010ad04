//! The tar that a server sends: one member after the other, in pieces of any length.
//!
//! PostgreSQL writes plain ustar: files, folders and links with short names, and lengths over 8 GiB
//! in base 256. Whatever else comes is refused.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

const BLOCK: usize = 512;
/// Hard limit for one member: a relation's file is a gigabyte unless PostgreSQL was compiled with
/// another length, and no file system holds more than this.
const MEMBER_MAX: u64 = 1 << 44;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Folder,
    Link,
}

/// One member's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name without slashes at the ends.
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified_secs: i64,
}

/// One thing out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Member(Member),
    /// Bytes of the file that began last.
    Content(Bytes),
    /// All of the file was there.
    End,
}

/// Cuts the bytes of one archive into members.
#[derive(Debug, Default)]
pub(super) struct ArchiveReader {
    header: BytesMut,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Content {
        left: u64,
        padding: usize,
    },
    Padding {
        left: usize,
    },
    /// The block of zeros that ends an archive was seen; only zeros may follow.
    Trailer,
}

impl ArchiveReader {
    /// Takes the next bytes and appends what they hold to `pieces`.
    pub(super) fn feed(
        &mut self,
        mut bytes: Bytes,
        pieces: &mut VecDeque<Piece>,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            match self.state {
                State::Header => {
                    let take = (BLOCK - self.header.len()).min(bytes.len());
                    self.header.extend_from_slice(&bytes.split_to(take));
                    if self.header.len() == BLOCK {
                        let header = self.header.split();
                        self.take_header(&header, pieces)?;
                    }
                }
                State::Content { left, padding } => {
                    let take = left.min(bytes.len() as u64) as usize;
                    pieces.push_back(Piece::Content(bytes.split_to(take)));
                    self.after_content(left - take as u64, padding, pieces);
                }
                State::Padding { left } => {
                    let take = left.min(bytes.len());
                    bytes.advance(take);
                    self.state = match left - take {
                        0 => State::Header,
                        left => State::Padding { left },
                    };
                }
                State::Trailer => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err("goes on behind its end".to_owned());
                    }
                    bytes.clear();
                }
            }
        }
        Ok(())
    }

    /// Checks that the archive does not end within a member. Servers before version 15 leave out the
    /// zeros that end an archive, so their absence says nothing.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.state {
            State::Trailer => Ok(()),
            State::Header if self.header.is_empty() => Ok(()),
            _ => Err("breaks off within a file".to_owned()),
        }
    }

    fn take_header(&mut self, header: &[u8], pieces: &mut VecDeque<Piece>) -> Result<(), String> {
        if header.iter().all(|byte| *byte == 0) {
            self.state = State::Trailer;
            return Ok(());
        }
        let member = parse_header(header).map_err(str::to_owned)?;
        let size = member.size;
        let is_file = member.kind == MemberKind::File;
        pieces.push_back(Piece::Member(member));
        if is_file {
            let padding = (size.next_multiple_of(BLOCK as u64) - size) as usize;
            self.after_content(size, padding, pieces);
        }
        Ok(())
    }

    fn after_content(&mut self, left: u64, padding: usize, pieces: &mut VecDeque<Piece>) {
        if left > 0 {
            self.state = State::Content { left, padding };
            return;
        }
        pieces.push_back(Piece::End);
        self.state = match padding {
            0 => State::Header,
            left => State::Padding { left },
        };
    }
}

fn parse_header(header: &[u8]) -> Result<Member, &'static str> {
    if number(&header[148..156]) != Some(checksum(header)) {
        return Err("has a member whose header is damaged");
    }
    let kind = match header[156] {
        b'0' | 0 => MemberKind::File,
        b'5' => MemberKind::Folder,
        b'2' => MemberKind::Link,
        _ => return Err("has a member of a kind that no server sends"),
    };
    let mut name = until_nul(&header[345..500]).to_vec();
    if !name.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(until_nul(&header[..100]));
    let field = |at: usize, len: usize| number(&header[at..at + len]);
    let small = |at| field(at, 8).and_then(|number| u32::try_from(number).ok());
    let read = || {
        Some(Member {
            name: trim(&name).to_vec(),
            kind,
            size: field(124, 12).filter(|size| *size <= MEMBER_MAX)?,
            mode: small(100)? & 0o7777,
            uid: small(108)?,
            gid: small(116)?,
            modified_secs: i64::try_from(field(136, 12)?).ok()?,
        })
    };
    read().ok_or("has a member with an impossible number")
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Takes `./` and slashes off the ends.
fn trim(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let end = name.iter().rposition(|byte| *byte != b'/');
    &name[..end.map_or(0, |last| last + 1)]
}

/// Sums the header's bytes, with spaces in place of the sum itself.
fn checksum(header: &[u8]) -> u64 {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    sum - own + 8 * u64::from(b' ')
}

/// Reads a number: octal digits, or base 256 if the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut number = u64::from(field[0] & 0x7F);
        for byte in &field[1..] {
            number = number.checked_mul(256)? + u64::from(*byte);
        }
        return Some(number);
    }
    let digits = until_nul(field).trim_ascii();
    if digits.iter().any(|byte| !(b'0'..=b'7').contains(byte)) {
        return None;
    }
    // At most twelve digits of three bits.
    let add = |number: u64, digit: &u8| number * 8 + u64::from(digit - b'0');
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000600");
        header[108..115].copy_from_slice(b"0000145");
        header[116..123].copy_from_slice(b"0000146");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"14000000000");
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        let sum = checksum(&header);
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header.extend(content);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<Piece>, String> {
        let mut reader = ArchiveReader::default();
        let mut pieces = VecDeque::new();
        for piece in bytes.chunks(step) {
            reader.feed(Bytes::copy_from_slice(piece), &mut pieces)?;
        }
        reader.finish()?;
        Ok(pieces.into())
    }

    fn sample() -> Vec<u8> {
        let mut bytes = member("base/", b'5', b"");
        bytes.extend(member("base/1", b'0', &[7; 700]));
        bytes.extend(member("empty", b'0', b""));
        bytes
    }

    #[test]
    fn members_come_out_however_the_bytes_are_cut() {
        for step in [1, 7, 512, 1000, 100_000] {
            let pieces = read(&sample(), step).unwrap();
            let mut names = Vec::new();
            let mut content = 0;
            for piece in &pieces {
                match piece {
                    Piece::Member(member) => names.push(member.name.clone()),
                    Piece::Content(bytes) => content += bytes.len(),
                    Piece::End => {}
                }
            }
            assert_eq!(names, [&b"base"[..], b"base/1", b"empty"]);
            assert_eq!(content, 700);
        }
        let Piece::Member(file) = &read(&sample(), 512).unwrap()[1] else {
            panic!("the second piece is the file");
        };
        assert_eq!((file.mode, file.uid, file.gid), (0o600, 101, 102));
    }

    #[test]
    fn an_archive_that_breaks_off_or_goes_on_is_refused() {
        let bytes = sample();
        assert!(read(&bytes[..600], 100).is_err());
        assert!(read(&bytes[..BLOCK + 700], 100).is_err());
        let mut ended = bytes.clone();
        ended.resize(bytes.len() + 1024, 0);
        assert!(read(&ended, 100).is_ok());
        ended.extend(b"more");
        assert!(read(&ended, 100).is_err());
        let mut odd = member("pipe", b'6', b"");
        odd.extend(&bytes);
        assert!(read(&odd, 100).is_err());
    }

    #[test]
    fn lengths_over_eight_gigabytes_are_read() {
        let mut field = [0_u8; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&(9_u64 << 30).to_be_bytes());
        assert_eq!(number(&field), Some(9 << 30));
        assert_eq!(number(&[0xFF; 12]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            step in 1_usize..600,
        ) {
            let mut bytes = sample();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(pieces) = read(&bytes, step) {
                prop_assert!(pieces.len() < 2_000);
            }
        }
    }
}
