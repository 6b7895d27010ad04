//! `wal push`: what `archive_command` runs.
//!
//! Owns the promise of its exit code: 0 means that the file is durable in the home region.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use lifeboat_config::{Environment, Source};
use lifeboat_model::{RegionName, SystemId, WalFileName, error_chain};
use lifeboat_repository::WalDraft;
use lifeboat_runtime::Stopwatch;
use lifeboat_source_postgres::ControlFile;
use lifeboat_source_postgres::wal::{check_segment, scan_segment};
use serde::Serialize;

use super::archive::{Archive, data_directory_of, refuse_foreign};
use crate::error::OperationError;
use crate::session::Session;

/// Files that are read, compressed and stored at the same time: each needs some 40 MiB.
const AT_ONCE: usize = 4;

/// What is to be pushed.
#[derive(Debug, Clone)]
pub struct WalPushRequest<'a> {
    /// The file, as the server names it.
    pub file: &'a Path,
    /// How many files that wait beside it may be pushed along.
    pub along_max: usize,
}

/// What came of one file.
#[derive(Debug, Clone, Serialize)]
pub struct WalPush {
    /// The file.
    pub file: WalFileName,
    /// Whether the home region had it already.
    pub already: bool,
    /// Replicas that do not have it, and why; `lifeboat replicate` brings it there.
    pub missed: Vec<(RegionName, String)>,
}

/// What a push did.
#[derive(Debug, Clone, Serialize)]
pub struct WalPushReport {
    /// The file that was asked for.
    #[serde(flatten)]
    pub push: WalPush,
    /// Files that waited, and were pushed along.
    pub along: Vec<WalPush>,
    /// How long it took, seconds.
    pub secs: f64,
}

impl Session {
    /// Keeps a file of a cluster's log. When this returns, it is durable in the home region.
    ///
    /// Files that wait in the server's queue are pushed along; when the server asks for one of those
    /// later, the answer is at hand. What fails of them is left for then.
    ///
    /// # Errors
    /// Fails if the file is no file of this source's log, if the repository holds the same file with
    /// other content, or if the home region cannot be written.
    pub async fn wal_push(
        &self,
        environment: &Environment,
        source: &Source,
        request: &WalPushRequest<'_>,
    ) -> Result<WalPushReport, OperationError> {
        let watch = Stopwatch::start(&*self.world.clock);
        let file = file_name(request.file)?;
        let data_directory = data_directory_of(request.file)?;
        let system = ControlFile::read(&data_directory)?.system_id;
        let pushed = Pushed::of(self, environment, source, system)?;
        let done = |push, along| WalPushReport {
            push,
            along,
            secs: watch.elapsed().as_secs_f64(),
        };
        if pushed.take(request.file) {
            let (already, missed) = (true, Vec::new());
            let push = WalPush {
                file,
                already,
                missed,
            };
            return Ok(done(push, Vec::new()));
        }
        refuse_foreign(self, environment, source, system).await?;
        let archive = Archive::open(self, environment, source, system).await?;
        let waiting = waiting(request.file, request.along_max);
        let along = stream::iter(&waiting)
            .map(|path| push_along(&archive, path, &pushed))
            .buffer_unordered(AT_ONCE);
        let (push, along) = futures::join!(
            push_file(&archive, request.file),
            along.filter_map(std::future::ready).collect::<Vec<_>>(),
        );
        Ok(done(push?, along))
    }
}

/// Reads, checks and keeps one file.
async fn push_file(archive: &Archive, path: &Path) -> Result<WalPush, OperationError> {
    let file = file_name(path)?;
    let bytes = tokio::fs::read(path)
        .await
        .map_err(|error| OperationError::io("read", path, error))?;
    let bytes = Bytes::from(bytes);
    let newest_commit = check(file, &bytes, archive.place.system)?;
    let draft = WalDraft {
        file,
        piece: None,
        newest_commit,
    };
    let kept = archive.keep(&draft, bytes).await?;
    for (region, why) in &kept.missed {
        tracing::error!(
            "`{file}` is not in region `{region}`: {why}; `lifeboat replicate` brings it"
        );
    }
    Ok(WalPush {
        file,
        already: kept.already,
        missed: kept.missed,
    })
}

/// Makes sure that a file is of the cluster's log, and returns when its newest transaction was
/// committed.
pub(super) fn check(
    file: WalFileName,
    bytes: &[u8],
    system: SystemId,
) -> Result<Option<Timestamp>, OperationError> {
    if !file.holds_pages() {
        return Ok(None);
    }
    let facts = check_segment(bytes, &file, system)?;
    let start = facts.segment.start(facts.segment_size);
    let scanned = scan_segment(bytes, start, facts.segment_size);
    Ok(scanned.newest_commit.map(|commit| commit.at))
}

/// Pushes a file that waits; one that fails is left until the server asks for it.
async fn push_along(archive: &Archive, path: &Path, pushed: &Pushed) -> Option<WalPush> {
    // Before it is read: a file that changes meanwhile is not the one that was pushed.
    let stamp = Stamp::of(path)?;
    match push_file(archive, path).await {
        Ok(push) => {
            pushed.note(path, &stamp);
            Some(push)
        }
        Err(error) => {
            tracing::info!(
                "`{}` was not pushed along: {}",
                path.display(),
                error_chain(&error)
            );
            None
        }
    }
}

fn file_name(path: &Path) -> Result<WalFileName, OperationError> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.parse().map_err(
        |error: lifeboat_model::InvalidWalName| OperationError::Usage {
            message: error.to_string(),
            hint: "give the file as PostgreSQL does: `%p` in `archive_command`".to_owned(),
        },
    )
}

/// Lists the files that the server has marked as ready to be archived, oldest first, the one that was
/// asked for left out.
fn waiting(asked: &Path, max: usize) -> Vec<PathBuf> {
    let Some(folder) = asked.parent() else {
        return Vec::new();
    };
    // Without a queue, as when a file is pushed by hand, nothing goes along.
    let queue = std::fs::read_dir(folder.join("archive_status"));
    let names = queue.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let name = name.strip_suffix(".ready")?;
        name.parse::<WalFileName>().ok()
    });
    let mut names: Vec<_> = names
        .map(|name| folder.join(name.to_string()))
        .filter(|path| path.file_name() != asked.file_name())
        .collect();
    names.sort();
    names.truncate(max);
    names
}

/// Notes of the files that were pushed along, so that the server's next question is answered at once.
///
/// A note counts for the very file that was pushed, the same length, times and inode, and for the home
/// that it was pushed to. It is taken away with the answer. Who cannot write notes here pushes each file when it is asked for.
struct Pushed {
    folder: PathBuf,
    /// Where the home is.
    home: String,
}

impl Pushed {
    fn of(
        session: &Session,
        environment: &Environment,
        source: &Source,
        system: SystemId,
    ) -> Result<Self, OperationError> {
        let name = format!("{}-{}-{system}", environment.name, source.name);
        let folder = session.config.root.join(".lifeboat").join("wal");
        let home = session.config.region(environment.home.as_str())?;
        Ok(Self {
            folder: folder.join(name),
            home: format!("{} {}", home.name, home.url),
        })
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.folder.join(file.file_name().unwrap_or_default())
    }

    fn text(&self, stamp: &Stamp) -> String {
        format!("{} {}", stamp.0, self.home)
    }

    /// Reports whether this very file was pushed, and forgets that.
    fn take(&self, file: &Path) -> bool {
        let path = self.path(file);
        let Ok(noted) = std::fs::read_to_string(&path) else {
            return false;
        };
        // If it stays, it holds for nothing but this file.
        std::fs::remove_file(&path).ok();
        Stamp::of(file).is_some_and(|stamp| self.text(&stamp) == noted)
    }

    fn note(&self, file: &Path, stamp: &Stamp) {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(self.path(file), self.text(stamp)));
        if let Err(error) = written {
            tracing::info!(%error, "`{}` is no place for notes", self.folder.display());
        }
    }
}

/// Tells one file, unchanged, from every other.
struct Stamp(String);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::symlink_metadata(path).ok()?;
        let words = [
            found.len().to_string(),
            format!("{}.{:09}", found.mtime(), found.mtime_nsec()),
            format!("{}.{:09}", found.ctime(), found.ctime_nsec()),
            found.ino().to_string(),
        ];
        Some(Self(words.join(" ")))
    }
}
