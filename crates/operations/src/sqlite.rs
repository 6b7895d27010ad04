//! SQLite databases: from a consistent copy into a snapshot.

use std::path::Path;

use lifeboat_model::{Entry, EntryKind, EntryPath, Metadata, error_chain};
use lifeboat_repository::{Layout, SnapshotWriter};
use lifeboat_runtime::Progress;
use lifeboat_source_sqlite::{CopyOptions, SqliteCopy, fingerprint, newest_commit};

use crate::error::OperationError;

/// Name of the fact that holds row counts and checksums per table.
pub const FINGERPRINT_FACT: &str = "sqlite.fingerprint";
/// Name of the fact that holds when the newest transaction was committed.
pub const NEWEST_COMMIT_FACT: &str = "newest_commit";

/// Bytes read from the copy at a time; a multiple of every page size.
const READ_LEN: usize = 1 << 20;

/// What is read of a database besides its pages.
pub(crate) struct Observe<'a> {
    pub(crate) fingerprint: bool,
    pub(crate) newest_commit: Option<&'a str>,
}

/// Copies the database as of one moment. Blocks meanwhile.
pub(crate) fn take_copy(database: &Path, scratch: &Path) -> Result<SqliteCopy, OperationError> {
    Ok(SqliteCopy::take(
        database,
        scratch,
        &CopyOptions::default(),
    )?)
}

/// Reads a database file that nobody writes to into a snapshot, with what was observed of it.
pub(crate) async fn read_database(
    copy: &Path,
    page_size: u32,
    name: &Path,
    observe: Observe<'_>,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<(), OperationError> {
    if observe.fingerprint {
        match fingerprint(copy) {
            Ok(found) => {
                let json = serde_json::to_string(&found).expect("a fingerprint serializes");
                writer.fact(FINGERPRINT_FACT, json);
            }
            // The bytes can be kept even if a table cannot be read without its extension.
            Err(error) => progress.warn(&format!(
                "`{}` has no fingerprint, so drills cannot compare rows: {}",
                name.display(),
                error_chain(&error)
            )),
        }
    }
    if let Some(sql) = observe.newest_commit {
        match newest_commit(copy, sql) {
            Ok(Some(newest)) => {
                writer.fact(NEWEST_COMMIT_FACT, serde_json::json!(newest).to_string());
            }
            Ok(None) => {}
            // A backup is worth more than the proof of its age.
            Err(error) => progress.warn(&format!(
                "the `newest_commit` query of `{}` failed, so no RPO can be proven: {}",
                name.display(),
                error_chain(&error)
            )),
        }
    }
    writer
        .begin_file(file_entry(copy, name)?, Layout::Pages { page_size })
        .await?;
    let io = |error| OperationError::io("read", copy, error);
    let mut file = std::fs::File::open(copy).map_err(io)?;
    let mut buffer = vec![0; READ_LEN];
    loop {
        let len = std::io::Read::read(&mut file, &mut buffer).map_err(io)?;
        if len == 0 {
            break;
        }
        writer.write(&buffer[..len]).await?;
        progress.advance(len as u64);
    }
    Ok(writer.end_file().await?)
}

/// Describes the one file of a database snapshot: named and owned as the original is.
fn file_entry(copy: &Path, name: &Path) -> Result<Entry, OperationError> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let size = std::fs::metadata(copy)
        .map_err(|e| OperationError::io("read", copy, e))?
        .len();
    let file_name = name
        .file_name()
        .map(|name| name.as_bytes().to_vec())
        .unwrap_or_default();
    let path = EntryPath::new(file_name).map_err(|_| OperationError::Usage {
        message: format!("`{}` names no file", name.display()),
        hint: "set the source's `path` to the database file".to_owned(),
    })?;
    // The original may have been renamed since the copy was taken; then defaults do.
    let metadata = std::fs::metadata(name).map_or(
        Metadata {
            mode: 0o600,
            ..Metadata::default()
        },
        |stat| Metadata {
            mode: stat.mode() & 0o7777,
            uid: stat.uid(),
            gid: stat.gid(),
            // Times beyond what nanoseconds can say become the farthest that they can.
            mtime_ns: stat
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(stat.mtime_nsec()),
            ..Metadata::default()
        },
    );
    Ok(Entry {
        path,
        kind: EntryKind::File { size },
        metadata,
    })
}
