//! The name that something takes once it is whole.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::remove::remove_at;

/// Something that lies under a name of its own beside the name it is meant for.
///
/// Dropped untaken, it is removed.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) temporary: Vec<u8>,
    pub(crate) name: Vec<u8>,
}

impl Place {
    /// Takes the name, by one rename unless a folder has it.
    pub(crate) fn take(self) -> Result<(), Errno> {
        let rename = || {
            rustix::fs::renameat(
                &self.folder,
                self.temporary.as_slice(),
                &self.folder,
                self.name.as_slice(),
            )
        };
        match rename() {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                remove_at(self.folder.as_fd(), &self.name)?;
                rename()
            }
            answer => answer,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone after a rename; but one name of a file renamed to another of it stays.
        rustix::fs::unlinkat(&*self.folder, self.temporary.as_slice(), AtFlags::empty()).ok();
    }
}
