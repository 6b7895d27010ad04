//! Key files: private from the first byte, and never written over.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use lifeboat_runtime::SecretBytes;

use crate::error::OperationError;

/// Makes the folder of a key file and shows that a file can be written there.
pub(crate) fn prepare(path: &Path) -> Result<(), OperationError> {
    let failed = |error| OperationError::io("write the key file", path, error);
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    create(path)
        .and_then(|_| std::fs::remove_file(path))
        .map_err(failed)
}

fn create(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Writes a key's text, durably, into a file that does not exist yet.
pub(crate) fn write(path: &Path, text: &SecretBytes) -> Result<(), OperationError> {
    let failed = |error| OperationError::io("write the key file", path, error);
    let mut file = create(path).map_err(failed)?;
    file.write_all(text.expose()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.sync_all().map_err(failed)
}
