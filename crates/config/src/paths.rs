//! Paths of the project, compared as text: nothing here asks the file system.

use std::path::{Component, Path, PathBuf};

/// Joins `text` to `root` and resolves `.` and `..` by their spelling.
pub(crate) fn absolute(root: &Path, text: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in root.join(text).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// Reports whether the two are one place, or one lies in the other.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_place_are_equal() {
        let root = Path::new("/p");
        assert_eq!(absolute(root, "./a/../b"), absolute(root, "b/"));
        assert_eq!(absolute(root, "/q/x"), Path::new("/q/x"));
    }

    #[test]
    fn overlap_compares_whole_parts() {
        assert!(overlap(Path::new("/p/a"), Path::new("/p/a/b")));
        assert!(!overlap(Path::new("/p/ab"), Path::new("/p/a")));
    }
}
