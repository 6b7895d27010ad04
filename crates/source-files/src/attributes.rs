//! Extended attributes, read and written without following links.
//!
//! The system has no `*at` call for them that is old enough to rely on, so an entry is named through
//! its folder's descriptor: `/proc/self/fd/<folder>/<name>`.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The kernel's limits: `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` are both 64 KiB.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// Enough to see whether there are any.
const FEW_BYTES: usize = 64;

/// Extended attributes as [`lifeboat_model::Metadata`] has them: names and values, sorted by name.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads extended attributes; holds the buffers, which few entries need.
#[derive(Debug, Default)]
pub(crate) struct AttributeReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl AttributeReader {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns the attributes of `name` in `folder`, sorted by name; those that the system hides from
    /// this user or that vanish meanwhile are left out.
    pub(crate) fn read(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Attributes, Errno> {
        let path = path_through(folder, name);
        self.collect(
            |names| rustix::fs::llistxattr(path.as_slice(), names),
            |name, value| rustix::fs::lgetxattr(path.as_slice(), name, value),
        )
    }

    /// Returns the attributes of an open file, as [`AttributeReader::read`] does.
    pub(crate) fn read_open(&mut self, file: BorrowedFd<'_>) -> Result<Attributes, Errno> {
        self.collect(
            |names| rustix::fs::flistxattr(file, names),
            |name, value| rustix::fs::fgetxattr(file, name, value),
        )
    }

    fn collect(
        &mut self,
        list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Attributes, Errno> {
        // Most entries have none: the large buffers are not even made for them.
        if listed(list(&mut [0; FEW_BYTES])) == Ok(0) {
            return Ok(Vec::new());
        }
        self.names.resize(ATTRIBUTE_BYTES_MAX, 0);
        self.value.resize(ATTRIBUTE_BYTES_MAX, 0);
        let len = listed(list(&mut self.names))?;
        let mut found = Vec::new();
        for attribute in self.names[..len].split(|byte| *byte == 0) {
            if attribute.is_empty() {
                continue;
            }
            match get(attribute, &mut self.value) {
                Ok(len) => found.push((attribute.to_vec(), self.value[..len].to_vec())),
                Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Takes the answer of a listing; an entry is special or the file system keeps none: no names.
fn listed(answer: Result<usize, Errno>) -> Result<usize, Errno> {
    match answer {
        Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(0),
        answer => answer,
    }
}

/// Sets attributes through an open descriptor; returns how many the system did not take.
pub(crate) fn write(file: BorrowedFd<'_>, attributes: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    count_refused(attributes, |name, value| {
        rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
    })
}

/// Removes from an open file or folder the attributes that are not among `wanted`; those that the
/// system keeps for itself stay.
pub(crate) fn remove_others(file: BorrowedFd<'_>, wanted: &[(Vec<u8>, Vec<u8>)]) {
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    // A file system without attributes has none too many.
    let len = rustix::fs::flistxattr(file, names.as_mut_slice()).unwrap_or(0);
    for name in names[..len].split(|byte| *byte == 0) {
        if !name.is_empty() && !wanted.iter().any(|(known, _)| known == name) {
            // Labels of the system's security modules are theirs to give and to keep.
            rustix::fs::fremovexattr(file, name).ok();
        }
    }
}

/// Sets attributes of `name` in `folder`, which may be a link; returns how many were not taken.
pub(crate) fn write_at(
    folder: BorrowedFd<'_>,
    name: &[u8],
    attributes: &[(Vec<u8>, Vec<u8>)],
) -> u64 {
    let path = path_through(folder, name);
    count_refused(attributes, |name, value| {
        rustix::fs::lsetxattr(path.as_slice(), name, value, XattrFlags::empty())
    })
}

fn count_refused(
    attributes: &[(Vec<u8>, Vec<u8>)],
    mut set: impl FnMut(&[u8], &[u8]) -> Result<(), Errno>,
) -> u64 {
    let refused = attributes
        .iter()
        .filter(|(name, value)| set(name, value).is_err());
    refused.count() as u64
}

fn path_through(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
