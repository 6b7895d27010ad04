//! What of a folder is read.

/// Chooses what of a folder belongs to a backup.
///
/// A pattern without `/` matches a name at any depth; any other matches the whole path relative to
/// the root. `*` stays within a name, `**` crosses folders, a leading `/` ties the pattern to the
/// root, a trailing `/` restricts it to folders. What lies in a matched folder is matched with it.
/// `exclude` wins over `include`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// Only these entries, and the folders that lead to them; empty means everything.
    pub include: Vec<String>,
    /// Not these entries; an excluded folder is not entered.
    pub exclude: Vec<String>,
    /// Stay on the root's file system: list mount points as folders without entering them.
    pub one_file_system: bool,
    /// Read extended attributes (ACLs, capabilities, labels), one or more system calls an entry.
    pub xattrs: bool,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            one_file_system: false,
            xattrs: true,
        }
    }
}
