//! From a snapshot back to a cluster that recovers by itself once it is started.

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_model::{
    EntryPath, EnvironmentName, RecoveryTarget, RunId, Segment, SourceName, SystemId,
};
use lifeboat_repository::{Repository, Snapshot, SnapshotReader};
use lifeboat_source_files::{PathFilter, TreeReport, TreeWriter};
use lifeboat_source_postgres::{
    Archiving, Listening, RecoveryParts, RecoverySettings, Tablespace, TargetAction, TargetEdge,
    TargetMode, TimelineChoice, check_target, finish_restore, map_tablespaces,
};

use super::delta_target::refuse_others;
use super::facts::ClusterFacts;
use super::log::bring_log;
use super::recovery::{LogAccess, Recovery, ThenDo};
use crate::delta::{Delta, DeltaReport};
use crate::error::OperationError;
use crate::restore::restore_tree;
use crate::scratch::Scratch;
use crate::selection::Selection;
use crate::session::Session;
use crate::tree::{Tree, Written, write_selection};
use crate::wal::Expected;

/// The control file in a data directory, without which no server starts on it.
const CONTROL: &str = "global/pg_control";
/// The configuration in a data directory; the second wins.
const CONFIGURATION: [&str; 2] = ["postgresql.conf", "postgresql.auto.conf"];

/// The command with which a server that recovers fetches its log.
#[derive(Debug, Clone)]
pub struct FetchCommand {
    /// The program, as the server's account can run it.
    pub program: PathBuf,
    /// What comes between the program and `wal fetch`: which project.
    pub project: Vec<String>,
    /// What comes after the names of the log: which region, or which folder and key.
    pub place: Vec<String>,
}

/// Where a cluster goes, and how it recovers there.
pub(crate) struct IntoCluster<'a> {
    pub(crate) target: &'a Path,
    pub(crate) delta: Option<Delta>,
    pub(crate) recovery: &'a Recovery,
    pub(crate) log: &'a LogAccess,
}

/// Restores the files of a cluster, and makes them a cluster that recovers as it is told. The control
/// file comes last.
pub(crate) async fn restore(
    repository: &Repository,
    reader: &SnapshotReader,
    snapshot: &Snapshot,
    into: &IntoCluster<'_>,
    session: &Session,
) -> Result<(Written, Option<DeltaReport>), OperationError> {
    let facts = ClusterFacts::of(snapshot).ok_or_else(|| OperationError::Usage {
        message: format!(
            "snapshot `{}` says nothing of its cluster",
            snapshot.id.short()
        ),
        hint: "restore another snapshot; `lifeboat snapshots` lists them".to_owned(),
    })?;
    let tablespaces = tablespaces(&facts, into)?;
    let mode = match into.delta {
        Some(_) => TargetMode::Delta,
        None => TargetMode::Empty,
    };
    check_target(into.target, &tablespaces, mode)?;
    if into.delta.is_some() {
        refuse_others(into.target, &tablespaces, &facts)?;
    }
    let run = RunId::from_bytes(session.world.entropy.bytes());
    let scratch = recovery_files(reader, into.target, run, session).await?;
    if into.recovery.starts {
        refuse_taken_port(reader, scratch.path(), into.recovery, session).await?;
    }
    if into.delta.is_some() {
        make_unstartable(into.target)?;
    }
    if let LogAccess::Brought = into.log {
        let wal = scratch.path().join("recovery").join("wal");
        bring_log(repository, snapshot, into.recovery, &wal, session).await?;
    }
    let settings = settings(snapshot, into, &spool_of(into.target, run));
    let all = PathFilter::new(&[])?;
    let tree = |folder: String, target: PathBuf| {
        let folder = EntryPath::new(folder).expect("the layout's names are paths");
        (Selection::within(reader, folder, &all), target)
    };
    let mut total = Total::default();
    for space in &tablespaces {
        let (selection, target) = tree(format!("pg_tblspc/{}", space.oid), space.location.clone());
        let delta = into.delta.filter(|_| target.exists());
        let done = restore_tree(reader, selection, &target, (delta, &all), session, |_| {
            Ok(())
        });
        total.add(done.await?);
    }
    let finish = |data: &Path| {
        let recovery = scratch.path().join("recovery");
        make_cluster(data, &recovery, &tablespaces, &settings)
    };
    let (selection, target) = tree("data".to_owned(), into.target.to_owned());
    let delta = into.delta.filter(|_| target.exists());
    total.add(restore_tree(reader, selection, &target, (delta, &all), session, finish).await?);
    Ok((
        Written {
            report: total.report,
            bytes: total.bytes,
        },
        total.delta,
    ))
}

fn tablespaces(
    facts: &ClusterFacts,
    into: &IntoCluster<'_>,
) -> Result<Vec<Tablespace>, OperationError> {
    let of_snapshot: Vec<_> = facts
        .tablespaces
        .iter()
        .map(|space| Tablespace {
            oid: space.oid,
            location: space.location.clone(),
        })
        .collect();
    Ok(map_tablespaces(&of_snapshot, &into.recovery.tablespaces)?)
}

/// Takes the control file away, so that no server starts on a mixture of two states.
fn make_unstartable(target: &Path) -> Result<(), OperationError> {
    let control = target.join(CONTROL);
    let removed = fs::remove_file(&control).and_then(|()| {
        let folder = control.parent().expect("it lies in a folder");
        fs::File::open(folder)?.sync_all()
    });
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OperationError::io("remove", &control, error))
        }
        _ => Ok(()),
    }
}

/// Brings what makes the files a cluster into a private folder beside the target.
async fn recovery_files(
    reader: &SnapshotReader,
    target: &Path,
    run: RunId,
    session: &Session,
) -> Result<Scratch, OperationError> {
    let scratch = Scratch::beside(target, ".recovery", &run.to_string())?;
    bring(reader, "recovery", &[], scratch.path(), session).await?;
    Ok(scratch)
}

/// Brings a folder of the snapshot, or some files of it, into a folder.
async fn bring(
    reader: &SnapshotReader,
    folder: &str,
    files: &[String],
    into: &Path,
    session: &Session,
) -> Result<(), OperationError> {
    let tree = Tree::new(TreeWriter::create(&into.join(folder))?);
    let filter = PathFilter::new(files)?;
    let folder = EntryPath::new(folder).expect("the layout's names are paths");
    let selection = Selection::within(reader, folder, &filter);
    write_selection(reader, &tree, &*session.progress, selection).await?;
    tree.into_writer().finish()?;
    Ok(())
}

/// Refuses to restore a cluster that is to be started where another server listens: the original, most
/// likely.
async fn refuse_taken_port(
    reader: &SnapshotReader,
    scratch: &Path,
    recovery: &Recovery,
    session: &Session,
) -> Result<(), OperationError> {
    let names = CONFIGURATION.map(str::to_owned);
    bring(reader, "data", &names, scratch, session).await?;
    // A cluster may keep its configuration elsewhere, as Debian's do.
    let read = |name| fs::read_to_string(scratch.join("data").join(name)).unwrap_or_default();
    let texts = CONFIGURATION.map(read);
    let mut listening = Listening::read(texts.iter().map(String::as_str));
    listening.port = recovery.port.unwrap_or(listening.port);
    match listening.taken() {
        None => Ok(()),
        Some(place) => Err(OperationError::Usage {
            message: format!(
                "port {} is taken: a server listens on `{place}`, where the restored one would",
                listening.port
            ),
            hint: "give it a port of its own with `--port`, or stop the other server".to_owned(),
        }),
    }
}

/// Makes restored files a cluster.
fn make_cluster(
    data: &Path,
    recovery: &Path,
    tablespaces: &[Tablespace],
    settings: &RecoverySettings,
) -> Result<(), OperationError> {
    let read = |name: &str| {
        let path = recovery.join(name);
        fs::read(&path).map_err(|error| OperationError::io("read", &path, error))
    };
    move_wal(&recovery.join("wal"), &data.join("pg_wal"))?;
    let (label, control) = (read("backup_label")?, read("pg_control")?);
    let parts = RecoveryParts {
        label: &label,
        control: &control,
        tablespaces,
        settings,
    };
    finish_restore(data, &parts)?;
    Ok(())
}

/// Puts the log that came along where the server looks for it.
fn move_wal(from: &Path, to: &Path) -> Result<(), OperationError> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OperationError::io("list", from, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| OperationError::io("list", from, error))?;
        let target = to.join(entry.file_name());
        fs::rename(entry.path(), &target)
            .or_else(|_| fs::copy(entry.path(), &target).map(drop))
            .and_then(|()| fs::File::open(&target)?.sync_all())
            .map_err(|error| OperationError::io("write", &target, error))?;
    }
    let folder = fs::File::open(to).and_then(|folder| folder.sync_all());
    folder.map_err(|error| OperationError::io("sync", to, error))
}

fn settings(snapshot: &Snapshot, into: &IntoCluster<'_>, spool: &Path) -> RecoverySettings {
    use lifeboat_source_postgres::RecoveryTarget as Stop;
    let recovery = into.recovery;
    let fetch = match into.log {
        LogAccess::Fetched(command) => Some(command),
        LogAccess::Brought => None,
    };
    let names = Names {
        environment: &snapshot.environment,
        source: &snapshot.source,
        system: recovery.range.system,
        spool,
        until: until(recovery),
        expected: &recovery.expected,
    };
    RecoverySettings {
        target: match &recovery.target {
            RecoveryTarget::Latest => Stop::Latest,
            RecoveryTarget::Immediate | RecoveryTarget::Snapshot(_) => Stop::Immediate,
            RecoveryTarget::Time(at) => Stop::Time(*at),
            RecoveryTarget::Lsn(lsn) => Stop::Lsn(*lsn),
            RecoveryTarget::Xid(xid) => Stop::Xid(*xid),
            RecoveryTarget::Name(name) => Stop::Name(name.clone()),
        },
        timeline: TimelineChoice::Number(recovery.timeline),
        edge: match recovery.exclusive {
            true => TargetEdge::Excluded,
            false => TargetEdge::Included,
        },
        action: match recovery.then {
            ThenDo::Promote => TargetAction::Promote,
            ThenDo::Pause => TargetAction::Pause,
        },
        restore_command: fetch.map(|fetch| names.command(fetch, &["%f", "%p"], &[])),
        recovery_end_command: fetch
            .map(|fetch| names.command(fetch, &["none", "none"], &["--end"])),
        standby: None,
        archiving: match recovery.archives {
            true => Archiving::AsBefore,
            false => Archiving::Off,
        },
        port: recovery.port,
    }
}

/// Returns the last segment that a recovery can need, if that is known before.
fn until(recovery: &Recovery) -> Option<Segment> {
    match recovery.target {
        RecoveryTarget::Latest | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => None,
        RecoveryTarget::Immediate
        | RecoveryTarget::Snapshot(_)
        | RecoveryTarget::Lsn(_)
        | RecoveryTarget::Time(_) => Some(recovery.last),
    }
}

/// Names the folder for what is fetched ahead: of this restore, so that nothing older is in it.
fn spool_of(target: &Path, run: RunId) -> PathBuf {
    let mut spool = target.as_os_str().to_owned();
    spool.push(format!(".wal-{run}"));
    PathBuf::from(spool)
}

struct Names<'a> {
    environment: &'a EnvironmentName,
    source: &'a SourceName,
    system: SystemId,
    spool: &'a Path,
    until: Option<Segment>,
    expected: &'a [Expected],
}

impl Names<'_> {
    /// Writes the command with which the server fetches `files`.
    fn command(&self, fetch: &FetchCommand, files: &[&str; 2], more: &[&str]) -> String {
        let system = self.system.to_string();
        let mut words = vec![quoted(&fetch.program.to_string_lossy())];
        words.extend(fetch.project.iter().map(|word| quoted(word)));
        let verb = [
            "-q",
            "wal",
            "fetch",
            self.environment.as_str(),
            self.source.as_str(),
        ];
        words.extend(verb.map(str::to_owned));
        // The server puts names in their place, which need no quotes for what it has.
        words.extend(files.map(|file| format!("\"{file}\"")));
        words.extend(["--system".to_owned(), system, "--spool".to_owned()]);
        words.push(quoted(&self.spool.to_string_lossy()));
        if let Some(until) = self.until {
            words.extend(["--until".to_owned(), until.to_string()]);
        }
        for expected in self.expected {
            words.extend(["--expect".to_owned(), expected.to_string()]);
        }
        words.extend(fetch.place.iter().map(|word| quoted(word)));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words.join(" ")
    }
}

/// Quotes a word for the shell, and `%` for the server.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Several trees as one.
#[derive(Default)]
struct Total {
    report: TreeReport,
    bytes: u64,
    delta: Option<DeltaReport>,
}

impl Total {
    fn add(&mut self, (written, delta): (Written, Option<DeltaReport>)) {
        self.bytes += written.bytes;
        self.report.add(written.report);
        match (&mut self.delta, delta) {
            (Some(total), Some(delta)) => total.add(delta),
            (None, Some(delta)) => self.delta = Some(delta),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell_and_the_server() {
        assert_eq!(quoted("/srv/shop/lifeboat"), "/srv/shop/lifeboat");
        assert_eq!(quoted("/srv/my shop"), "'/srv/my shop'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("100%"), "100%%");
        assert_eq!(quoted(""), "''");
    }
}
