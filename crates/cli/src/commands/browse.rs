//! What `show`, `ls`, `find`, `diff` and `stats` have in common: where to look.

use std::path::Path;

use lifeboat_operations::{LookIn, OperationError, Session};

use crate::args::{Args, LookArgs};
use crate::setup;

/// Makes the session: of the project, or without one if a folder and a key were given.
pub(super) fn session(args: &Args, look: &LookArgs) -> Result<Session, OperationError> {
    match look.rescue.places() {
        Some(_) => Ok(setup::session_without_project(args)),
        None => setup::session(args),
    }
}

/// Returns where to look.
pub(super) fn place(look: &LookArgs) -> LookIn<'_> {
    let rescue = look.rescue.places();
    LookIn {
        region: look.region.as_deref(),
        rescue: rescue.map(|(folder, key)| (Path::new(folder), Path::new(key))),
    }
}

/// Writes permission bits as `ls` does.
pub(super) fn mode(kind: &str, mode: u32) -> String {
    let mut text = String::from(match kind {
        "folder" => "d",
        "symlink" => "l",
        "pipe" => "p",
        "socket" => "s",
        "block device" => "b",
        "character device" => "c",
        _ => "-",
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn modes_read_as_ls_writes_them() {
        assert_eq!(mode("file", 0o640), "-rw-r-----");
        assert_eq!(mode("folder", 0o1777), "drwxrwxrwt");
        assert_eq!(mode("file", 0o4755), "-rwsr-xr-x");
        assert_eq!(mode("file", 0o2644), "-rw-r-Sr--");
        assert_eq!(mode("symlink", 0o777), "lrwxrwxrwx");
    }
}
