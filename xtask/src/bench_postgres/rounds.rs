//! Rounds: every tool does a step, then every tool the next, on one cluster.
//!
//! Nothing is deleted within a round: memory that a deletion frees can be slow to touch again, and
//! the next tool would pay for it. Between rounds old output is moved aside while the disk has room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archiver::{self, Way, quoted};
use super::report::{Rounds, Row, Size, Step};
use super::segments::Segments;
use super::server::{ARCHIVE_NOWHERE, Server, output};
use super::tools::{Cluster, Into, Kind, Peer, Tool};
use crate::bench::account::Account;
use crate::bench::folder::{at, free_bytes, length_of, read_all, remove, walk};
use crate::bench::limits::Limit;
use crate::bench::measure::{Cost, Run, median, sync};

/// What a round leaves in the bench's folder.
const LEFT_BEHIND: [&str; 4] = ["repositories", "restored", "homes", "wal"];

/// Folders of a data directory that every backup holds as they are on the disk.
const KEPT: [&str; 4] = ["base", "global", "pg_xact", "pg_multixact"];
/// A cache that the server makes anew, and backups leave out.
const CACHE: &str = "pg_internal.init";

/// What the server's own programs and `cp` take for the same work.
#[derive(Debug, Default)]
struct Scale {
    base_backups: Vec<Cost>,
    copies: Vec<Cost>,
    pushes: Vec<Cost>,
    fetches: Vec<Cost>,
}

/// The state of a whole run.
pub(super) struct Bench {
    folder: PathBuf,
    account: Account,
    /// This program, where the account may run it.
    own: PathBuf,
    server: Server,
    cluster: Cluster,
    segments: Segments,
    peers: Vec<(Peer, Rounds)>,
    write_secs: u32,
    transactions: u64,
    scale: Scale,
    notes: Vec<String>,
}

/// What a bench works with, and where.
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) account: Account,
    pub(super) own: PathBuf,
    pub(super) server: Server,
    pub(super) segments: Segments,
    /// How long clients write between full and incremental.
    pub(super) write_secs: u32,
}

impl Bench {
    pub(super) fn new(setting: Setting, peers: Vec<Peer>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, Rounds::default()));
        Self {
            folder: setting.folder,
            account: setting.account,
            own: setting.own,
            cluster: Cluster::of(&setting.server),
            server: setting.server,
            segments: setting.segments,
            peers: peers.collect(),
            write_secs: setting.write_secs,
            transactions: 0,
            scale: Scale::default(),
            notes: Vec::new(),
        }
    }

    /// Runs one round.
    pub(super) fn round(&mut self, number: u32) -> Result<(), String> {
        println!("\n==> round {}", number + 1);
        self.make_room(number)?;
        // Who comes first finds other caches than who comes last.
        let first = number as usize % self.peers.len();
        self.peers.rotate_left(first.min(1));
        self.in_turn(Self::create)?;
        self.in_turn(|bench, at| bench.backup(at, Kind::Full))?;
        self.transactions = self.server.write_for(self.write_secs)?;
        self.server.rest()?;
        self.in_turn(|bench, at| bench.backup(at, Kind::Incremental))?;
        self.in_turn(|bench, at| bench.restore(at, Into::Empty))?;
        self.in_turn(|bench, at| bench.restore(at, Into::Restored))?;
        self.in_turn(Self::push)?;
        self.in_turn(Self::fetch)?;
        self.give_scale()
    }

    /// Lets every tool do `work`. A peer that cannot is left out from there on, loudly.
    fn in_turn(
        &mut self,
        mut work: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut at = 0;
        while at < self.peers.len() {
            let Err(problem) = work(self, at) else {
                at += 1;
                continue;
            };
            let tool = self.peers[at].0.tool;
            if tool == Tool::Lifeboat {
                return Err(problem);
            }
            eprintln!("SKIPPED: {} from here on, because {problem}", tool.name());
            let first = problem.lines().next().unwrap_or_default();
            self.notes.push(format!("{} failed: {first}", tool.name()));
            self.peers.remove(at);
            self.server.archive_with(ARCHIVE_NOWHERE)?;
        }
        match self.peers.is_empty() {
            true => Err("no tool is left to measure".to_owned()),
            false => Ok(()),
        }
    }

    /// Moves what the round before left aside, or deletes everything if another does not fit.
    fn make_room(&mut self, number: u32) -> Result<(), String> {
        let needed = self.bytes_of_round()?;
        if number > 0 && free_bytes(&self.folder)? >= needed {
            let aside = self.folder.join("aside").join(number.to_string());
            self.account.make_folder(&aside)?;
            for name in LEFT_BEHIND {
                let folder = self.folder.join(name);
                fs::rename(&folder, aside.join(name)).map_err(|error| at(&folder, &error))?;
            }
            return Ok(());
        }
        self.clear()?;
        if number > 0 {
            let round = number + 1;
            self.notes
                .push(format!("before round {round} old output was deleted"));
        }
        let free = free_bytes(&self.folder)?;
        if free < needed {
            return Err(format!(
                "a round writes up to {:.0} GB, and the disk has {:.0} GB left; a smaller `--scale` needs less",
                needed as f64 / 1e9,
                free as f64 / 1e9
            ));
        }
        Ok(())
    }

    /// Returns about how much a round writes: repositories of a third of the cluster, restores and
    /// two copies of it, the log's segments.
    fn bytes_of_round(&self) -> Result<u64, String> {
        let cluster = length_of(&self.server.data.join("base"))?;
        let tools = self.peers.len() as f64;
        let log = self.segments.names.len() as f64 * f64::from(16 << 20);
        let bytes = cluster * (1.35 * tools + 2.0) + log * (1.5 * tools + 2.0);
        Ok(bytes as u64)
    }

    fn output(&self, peer: &Peer) -> PathBuf {
        self.folder.join("restored").join(peer.tool.name())
    }

    /// Measures `run`, prints what it took, and returns it.
    fn measure(&self, who: &str, step: &str, run: &Run) -> Result<Cost, String> {
        let log = format!("logs/{who}-{step}.log").replace(' ', "-");
        let cost = run.measure(&self.folder.join(log))?;
        println!(
            "{who:15} {step:13} {:7.2} s wall {:7.1} s CPU {:6.0} MB memory",
            cost.wall_secs, cost.cpu_secs, cost.rss_mb
        );
        Ok(cost)
    }

    fn create(&mut self, at: usize) -> Result<(), String> {
        let peer = &self.peers[at].0;
        peer.prepare(&self.cluster)?;
        let run = peer.create();
        self.measure(peer.tool.name(), "create", &run).map(drop)
    }

    fn backup(&mut self, at: usize, kind: Kind) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let step = match kind {
            Kind::Full => Step::Full,
            Kind::Incremental => Step::Incremental,
        };
        self.server.archive_with(&peer.archive_command())?;
        warm(&self.server.data.join("base"))?;
        let before = peer.stored_bytes()?;
        let cost = self.measure(peer.tool.name(), step.name(), &peer.backup(kind))?;
        self.server.wait_until_archived()?;
        self.server.archive_with(ARCHIVE_NOWHERE)?;
        let after = peer.stored_bytes()?;
        let rounds = &mut self.peers[at].1;
        rounds.took(step, cost);
        match kind {
            Kind::Full => rounds.stored(Size::Full, after),
            Kind::Incremental => rounds.stored(Size::Growth, after - before),
        }
        Ok(())
    }

    fn restore(&mut self, at: usize, into: Into) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let (step, to) = (
            match into {
                Into::Empty => Step::Restore,
                Into::Restored => Step::Delta,
            },
            self.output(peer),
        );
        self.account.make_folder(&to)?;
        warm(peer.repository())?;
        warm(&to)?;
        let cost = self.measure(peer.tool.name(), step.name(), &peer.restore(&to, into))?;
        self.expect_whole(&to)?;
        self.peers[at].1.took(step, cost);
        Ok(())
    }

    /// A tool that restored less must not look quick.
    fn expect_whole(&self, to: &Path) -> Result<(), String> {
        let (restored, own) = (kept(to)?, kept(&self.server.data)?);
        if restored != own {
            return Err(format!(
                "`{}` holds {} files of {} bytes and not the cluster's {} of {}",
                to.display(),
                restored.0,
                restored.1,
                own.0,
                own.1
            ));
        }
        let mut control = Command::new(self.server.bin().join("pg_controldata"));
        output(control.arg(to), self.account).map(drop)
    }

    fn push(&mut self, at: usize) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let data = self.data_directory(peer.tool.name(), Way::Push);
        self.segments.queue(&data)?;
        self.segments.warm()?;
        let before = peer.archived_bytes()?;
        let run = self.archiver(Way::Push, peer.push_command(&data), &data);
        let cost = self.measure(peer.tool.name(), Step::Push.name(), &run)?;
        let after = peer.archived_bytes()?;
        let rounds = &mut self.peers[at].1;
        rounds.took(Step::Push, cost);
        rounds.stored(Size::Log, after - before);
        Ok(())
    }

    fn fetch(&mut self, at: usize) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let data = self.data_directory(peer.tool.name(), Way::Fetch);
        self.segments.want(&data)?;
        warm(peer.repository())?;
        let run = self.archiver(Way::Fetch, peer.fetch_command(&data), &data);
        let cost = self.measure(peer.tool.name(), Step::Fetch.name(), &run)?;
        self.segments.expect_fetched(&data)?;
        self.peers[at].1.took(Step::Fetch, cost);
        Ok(())
    }

    fn data_directory(&self, who: &str, way: Way) -> PathBuf {
        self.folder.join("wal").join(who).join(way.word())
    }

    /// The run in which this program plays the server in the data directory `data`.
    fn archiver(&self, way: Way, command: String, data: &Path) -> Run {
        Run {
            program: self.own.clone(),
            args: vec![archiver::TASK.to_owned(), way.word().to_owned(), command],
            folder: data.to_owned(),
            variables: vec![("HOME", data.to_string_lossy().into_owned())],
            account: self.account,
        }
    }

    /// Measures what does the same work without being a backup.
    fn give_scale(&mut self) -> Result<(), String> {
        let (push, fetch) = (
            self.data_directory("cp", Way::Push),
            self.data_directory("cp", Way::Fetch),
        );
        self.segments.queue(&push)?;
        self.segments.want(&fetch)?;
        let kept = self.folder.join("wal/cp/kept");
        self.account.make_folder(&kept)?;
        let kept = quoted(&kept.to_string_lossy());
        self.segments.warm()?;
        let run = self.archiver(Way::Push, format!("cp %p {kept}/%f"), &push);
        self.scale
            .pushes
            .push(self.measure("cp", "WAL push", &run)?);
        let run = self.archiver(Way::Fetch, format!("cp {kept}/%f %p"), &fetch);
        self.scale
            .fetches
            .push(self.measure("cp", "WAL fetch", &run)?);
        self.segments.expect_fetched(&fetch)?;
        let base = self.server.data.join("base");
        warm(&base)?;
        let run = self
            .server
            .base_backup(&self.folder.join("restored/pg_basebackup"));
        let cost = self.measure("pg_basebackup", "full", &run)?;
        self.scale.base_backups.push(cost);
        warm(&base)?;
        let mut run = run;
        run.program = PathBuf::from("cp");
        let to = self.folder.join("restored/cp");
        run.args = ["-a", &base.to_string_lossy(), &to.to_string_lossy()]
            .map(str::to_owned)
            .to_vec();
        self.scale.copies.push(self.measure("cp", "full", &run)?);
        Ok(())
    }

    /// Returns what the machine takes for the same work without a backup tool.
    pub(super) fn limits(&self) -> Vec<Limit> {
        let whole = |what: &str, costs: &[Cost]| {
            let cost = median(costs);
            let figure = format!("{:.2} s wall, {:.1} s CPU", cost.wall_secs, cost.cpu_secs);
            (what.to_owned(), figure)
        };
        let each = |what: &str, costs: &[Cost]| {
            let ms = median(costs).wall_secs * 1000.0 / self.segments.names.len().max(1) as f64;
            (what.to_owned(), format!("{ms:.1} ms"))
        };
        vec![
            whole("`cp -a` of the folder `base`", &self.scale.copies),
            whole(
                "`pg_basebackup`, plain, without WAL and sync",
                &self.scale.base_backups,
            ),
            each("`cp` of a segment, as archive command", &self.scale.pushes),
            each("`cp` of a segment, as restore command", &self.scale.fetches),
        ]
    }

    /// Deletes what rounds left behind.
    pub(super) fn clear(&self) -> Result<(), String> {
        for name in LEFT_BEHIND.iter().chain(&["aside"]) {
            remove(&self.folder.join(name))?;
        }
        sync();
        Ok(())
    }

    /// Describes the cluster, and what was written between full and incremental.
    pub(super) fn describe(&self) -> Result<(String, String), String> {
        let mb = length_of(&self.server.data.join("base"))? / 1e6;
        let cluster = format!(
            "PostgreSQL {}, page checksums, {mb:.0} MB in the folder `base`",
            self.server.version()?
        );
        let change = format!(
            "{} s of pgbench with 4 clients, {} transactions in the last round, and a checkpoint",
            self.write_secs, self.transactions
        );
        Ok((cluster, change))
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.names.len()
    }

    /// Returns what people should know beside the figures.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the medians in the order in which the tools are listed.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .peers
            .iter()
            .map(|(peer, rounds)| Row::new(peer.tool, peer.version.clone(), rounds))
            .collect();
        rows.sort_by_key(|row| row.tool as usize);
        rows
    }

    /// Returns the commands of a round, with `BENCH` for the folder that everything lies in.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut peers: Vec<&Peer> = self.peers.iter().map(|(peer, _)| peer).collect();
        peers.sort_by_key(|peer| peer.tool as usize);
        let lines = peers.into_iter().flat_map(|peer| self.commands_of(peer));
        let folder = self.folder.to_string_lossy().into_owned();
        lines.map(|line| line.replace(&folder, "BENCH")).collect()
    }

    fn commands_of(&self, peer: &Peer) -> Vec<String> {
        let to = self.output(peer);
        let runs = [
            peer.create(),
            peer.backup(Kind::Full),
            peer.backup(Kind::Incremental),
            peer.restore(&to, Into::Empty),
            peer.restore(&to, Into::Restored),
        ];
        let data = |way| self.data_directory(peer.tool.name(), way);
        let mut lines: Vec<String> = runs.iter().map(Run::line).collect();
        // The page is for others, whose programs lie elsewhere.
        let named = |line: String| line.replacen(&peer.program_folder(), "", 1);
        lines.push(named(peer.push_command(&data(Way::Push))));
        lines.push(named(peer.fetch_command(&data(Way::Fetch))));
        lines
    }
}

/// Reads every file below `folder` once.
fn warm(folder: &Path) -> Result<(), String> {
    let mut files = Vec::new();
    walk(folder, &mut |path, _| files.push(path.to_owned()))?;
    read_all(files.iter().map(PathBuf::as_path)).map(drop)
}

/// Returns how many files every backup of the data directory `data` holds, and their length.
fn kept(data: &Path) -> Result<(usize, u64), String> {
    let (mut count, mut bytes) = (0, 0);
    for folder in KEPT {
        walk(&data.join(folder), &mut |path, len| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with(CACHE) {
                count += 1;
                bytes += len;
            }
        })?;
    }
    Ok((count, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_makes_anew_is_not_missed() {
        let data = std::env::temp_dir().join(format!("xtask-kept-{}", std::process::id()));
        for folder in KEPT {
            fs::create_dir_all(data.join(folder)).unwrap();
            fs::write(data.join(folder).join("1"), "12345678").unwrap();
        }
        fs::write(data.join("base/pg_internal.init"), "cache").unwrap();
        fs::write(data.join("postmaster.pid"), "1").unwrap();
        assert_eq!(kept(&data).unwrap(), (4, 32));
        fs::remove_dir_all(data).unwrap();
    }
}
