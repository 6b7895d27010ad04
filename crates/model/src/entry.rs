//! Entries: what a source hands to a backup and a restore puts back.

use std::cmp::Ordering;
use std::fmt;

/// The bytes are not a relative path inside a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a relative path inside a source", .0.escape_ascii())]
pub struct InvalidPath(Vec<u8>);

/// A path inside a source: bytes as the file system has them, `/` between the parts.
///
/// Never absolute, never empty parts, never `.` or `..`, never NUL: so that a restore cannot be
/// made to write outside its target. The empty path is the source's root.
///
/// Paths order part by part, which is the order of a depth-first walk with sorted names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Returns the path of the source's root.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks and wraps path bytes.
    ///
    /// # Errors
    /// Fails if the bytes could name anything outside the source.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidPath> {
        let bytes = bytes.into();
        let sound = bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(is_sound_part);
        if sound {
            Ok(Self(bytes))
        } else {
            Err(InvalidPath(bytes))
        }
    }

    /// Returns this path with one more part.
    ///
    /// # Errors
    /// Fails if `name` is not a single sound part.
    pub fn join(&self, name: &[u8]) -> Result<Self, InvalidPath> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if is_sound_part(name) && !name.contains(&b'/') {
            Ok(Self(bytes))
        } else {
            Err(InvalidPath(bytes))
        }
    }

    /// Returns the path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reports whether this is the source's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns this path as seen from `folder`, or `None` if it lies elsewhere; the folder itself is
    /// the root then.
    pub fn within(&self, folder: &Self) -> Option<Self> {
        if folder.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(folder.as_bytes())? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// Returns the folder this entry lies in, or `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }
}

fn is_sound_part(part: &[u8]) -> bool {
    !part.is_empty() && part != b"." && part != b".." && !part.contains(&0)
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // `/` sorts below every other byte, so that a folder's content directly follows it.
        let rank = |byte: u8| match byte {
            b'/' => 0,
            _ => u16::from(byte) + 1,
        };
        let mut pairs = self.0.iter().zip(&other.0);
        match pairs.find(|(mine, theirs)| mine != theirs) {
            Some((mine, theirs)) => rank(*mine).cmp(&rank(*theirs)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok("") => f.write_str("."),
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPath({self})")
    }
}

/// What the file system says about an entry besides its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, set-id and sticky bits included; no file type bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Last change of the content, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Last change of content or metadata, nanoseconds since 1970 UTC. Kept to notice changes
    /// that leave mtime alone; it cannot be restored.
    pub ctime_ns: i64,
    /// Inode number at backup time, kept to notice replaced files.
    pub inode: u64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A regular file of `size` bytes, read as it was while being read.
    File {
        /// Length of the content, bytes.
        size: u64,
    },
    /// A symbolic link with its target, kept byte for byte and never followed.
    Symlink {
        /// What the link says.
        target: Vec<u8>,
    },
    /// Another name of a file that came earlier in the same source.
    Hardlink {
        /// The earlier name.
        first: EntryPath,
    },
    /// A named pipe.
    Fifo,
    /// A socket; restored as nothing, listed so that its loss is known.
    Socket,
    /// A block or character device.
    Device {
        /// Block device, else character device.
        block: bool,
        /// Device number as the system packs it.
        number: u64,
    },
}

/// One thing in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the source's root.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// What the file system says about it.
    pub metadata: Metadata,
}

/// A range of a file's bytes: `offset .. offset + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    #[test]
    fn paths_that_leave_the_source_are_refused() {
        for bad in ["/etc", "../x", "a/../b", "a//b", "a/", "./a", "a\0b"] {
            assert!(EntryPath::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(path("a").join(b"b/c").is_err());
        assert!(path("a").join(b"..").is_err());
    }

    #[test]
    fn order_is_that_of_a_depth_first_walk() {
        let mut paths = ["a.b", "a", "b", "a/z", "a/b/c", "a!"].map(path);
        paths.sort();
        assert_eq!(
            paths.map(|p| p.to_string()),
            ["a", "a/b/c", "a/z", "a!", "a.b", "b"]
        );
    }

    #[test]
    fn paths_print_on_one_line_whatever_bytes_they_hold() {
        assert_eq!(EntryPath::new(*b"a\nb").unwrap().to_string(), "a\\nb");
        assert_eq!(EntryPath::new(*b"\xff").unwrap().to_string(), "\\xff");
    }

    #[test]
    fn a_path_within_a_folder_begins_there() {
        let seen = |whole: &str, folder: &str| path(whole).within(&path(folder));
        assert_eq!(seen("a/b/c", "a"), Some(path("b/c")));
        assert_eq!(seen("a", "a"), Some(EntryPath::root()));
        assert_eq!(seen("ab/c", "a"), None);
        assert_eq!(seen("a/b", ""), Some(path("a/b")));
    }

    #[test]
    fn the_root_has_no_parent_and_top_entries_have_the_root() {
        assert_eq!(EntryPath::root().parent(), None);
        assert_eq!(path("a").parent(), Some(EntryPath::root()));
        assert_eq!(path("a/b").parent(), Some(path("a")));
    }
}
