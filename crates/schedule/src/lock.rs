//! A lock for each job on this host: who holds it runs the job.
//!
//! The ledger alone keeps two runs apart. What the lock adds is certainty about the dead: it names
//! the run that holds it and is released by the system when that process ends, so whoever gets it
//! knows that the run it names is over, and need not wait until it could be taken for dead.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use lifeboat_model::{EnvironmentName, RunId};
use lifeboat_repository::RunName;

/// What a process locks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// The right to run the job.
    Run,
    /// The right to wait for it: one process is enough.
    Wait,
}

/// A lock that this process holds.
#[derive(Debug)]
pub(crate) struct JobLock {
    file: File,
}

impl JobLock {
    /// Takes the lock of a job, or returns `None` if another process has it.
    pub(crate) fn take(
        root: &Path,
        environment: &EnvironmentName,
        job: &str,
        place: Place,
    ) -> std::io::Result<Option<Self>> {
        let folder = root.join(".lifeboat").join("jobs");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let what = match place {
            Place::Run => "lock",
            Place::Wait => "wait",
        };
        let name = format!("{environment}.{}.{what}", RunName::job_part(job));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Returns the run that held the lock last. It is over, or this process would not have the lock.
    pub(crate) fn last_run(&mut self) -> Option<RunId> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        self.file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Notes which run holds the lock, before the ledger says that it began.
    pub(crate) fn note(&mut self, run: RunId) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{run}")?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_next_knows_the_last() {
        let root = tempfile::tempdir().unwrap();
        let prod = "prod".parse().unwrap();
        let take = || JobLock::take(root.path(), &prod, "Nightly / full", Place::Run).unwrap();
        let mut first = take().unwrap();
        assert_eq!(first.last_run(), None);
        let run = RunId::from_bytes([7; 8]);
        first.note(RunId::from_bytes([9; 8])).unwrap();
        first.note(run).unwrap();
        assert!(take().is_none());
        drop(first);
        assert_eq!(take().unwrap().last_run(), Some(run));
    }
}
