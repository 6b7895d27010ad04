//! Rounds: every tool does a step, then every tool the next.
//!
//! Nothing is deleted within a round: memory that a deletion frees can be slow to touch again, and
//! the next tool would pay for it. Between rounds old output is moved aside while the disk has room.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::peers::{Peer, Step, Tool};
use super::report::{Rounds, Row};
use super::tree::{Change, Tree};
use crate::bench::clock::Stopwatch;
use crate::bench::folder::{copy, free_bytes, length_of};
use crate::bench::measure::{Run, middle, sync};

/// Between a change of the tree and the next backup: a file that was changed only just now cannot
/// be told from one that is still changing, and tools read it again the next time.
const REST: Duration = Duration::from_secs(3);

/// What a round leaves in the bench's folder.
const LEFT_BEHIND: [&str; 3] = ["repositories", "restored", "homes"];

/// The state of a whole run.
pub(super) struct Bench<'a> {
    folder: PathBuf,
    tree: &'a Tree,
    peers: Vec<(Peer, Rounds)>,
    copies: Vec<f64>,
    change: Change,
    notes: Vec<String>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(folder: PathBuf, tree: &'a Tree, peers: Vec<Peer>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, Rounds::default()));
        Self {
            folder,
            tree,
            peers: peers.collect(),
            copies: Vec::new(),
            change: Change::default(),
            notes: Vec::new(),
        }
    }

    /// Runs one round and leaves the tree as it was.
    pub(super) fn round(&mut self, number: u32) -> Result<(), String> {
        println!("\n==> round {}", number + 1);
        self.make_room(number)?;
        // Who comes first finds other caches than who comes last.
        let first = number as usize % self.peers.len();
        self.peers.rotate_left(first.min(1));
        self.in_turn(|bench, at| bench.create(at))?;
        self.tree.read_all()?;
        std::thread::sleep(REST);
        for step in [Step::First, Step::Unchanged] {
            self.in_turn(|bench, at| bench.backup(at, step))?;
        }
        self.change = self.tree.flip()?;
        std::thread::sleep(REST);
        let backed_up = self.in_turn(|bench, at| bench.backup(at, Step::Changed));
        // Restored is the changed tree; it has the same length.
        let restored = backed_up.and_then(|()| self.in_turn(Self::restore));
        self.tree.flip()?;
        restored?;
        self.copy_tree()
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
        }
        match self.peers.is_empty() {
            true => Err("no tool is left to measure".to_owned()),
            false => Ok(()),
        }
    }

    /// Moves what the round before left aside, or deletes everything if another does not fit.
    fn make_room(&mut self, number: u32) -> Result<(), String> {
        if number == 0 {
            return self.clear();
        }
        let round = self.tree.bytes() * (3 * self.peers.len() as u64 + 2) / 2;
        if free_bytes(&self.folder)? < round {
            self.notes.push(format!(
                "before round {} old output was deleted",
                number + 1
            ));
            return self.clear();
        }
        let aside = self.folder.join("aside").join(number.to_string());
        fs::create_dir_all(&aside).map_err(|error| format!("`{}`: {error}", aside.display()))?;
        for name in LEFT_BEHIND {
            let folder = self.folder.join(name);
            fs::rename(&folder, aside.join(name))
                .map_err(|error| format!("`{}`: {error}", folder.display()))?;
        }
        Ok(())
    }

    /// Returns what people should know beside the figures.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    fn repository(&self, peer: &Peer) -> PathBuf {
        self.folder.join("repositories").join(peer.tool.name())
    }

    fn output(&self, peer: &Peer) -> PathBuf {
        self.folder.join("restored").join(peer.tool.name())
    }

    fn log(&self, peer: &Peer, what: &str) -> Result<PathBuf, String> {
        let logs = self.folder.join("logs");
        fs::create_dir_all(&logs).map_err(|error| format!("`{}`: {error}", logs.display()))?;
        Ok(logs.join(format!("{}-{what}.log", peer.tool.name())))
    }

    fn create(&self, at: usize) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let repository = self.repository(peer);
        let parent = repository.parent().expect("it lies in the bench's folder");
        fs::create_dir_all(parent).map_err(|error| format!("`{}`: {error}", parent.display()))?;
        peer.prepare(&repository, &self.tree.root)?;
        for (number, run) in peer.create(&repository).iter().enumerate() {
            run.measure(&self.log(peer, &format!("create-{number}"))?)?;
        }
        Ok(())
    }

    fn backup(&mut self, at: usize, step: Step) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let repository = self.repository(peer);
        let before = length_of(&repository)?;
        let run = peer.backup(&repository, &self.tree.root, step);
        let cost = run.measure(&self.log(peer, step.name())?)?;
        let after = length_of(&repository)?;
        println!(
            "{:9} {:9} {:7.2} s wall {:7.1} s CPU {:6.0} MB memory {:+8.1} MB stored",
            peer.tool.name(),
            step.name(),
            cost.wall_secs,
            cost.cpu_secs,
            cost.rss_mb,
            (after - before) / 1e6
        );
        let rounds = &mut self.peers[at].1;
        rounds.backups[step as usize].push(cost);
        match step {
            Step::First => rounds.first_bytes.push(after),
            Step::Unchanged => {}
            Step::Changed => rounds.growth_bytes.push(after - before),
        }
        Ok(())
    }

    fn restore(&mut self, at: usize) -> Result<(), String> {
        let peer = &self.peers[at].0;
        let to = self.output(peer);
        fs::create_dir_all(&to).map_err(|error| format!("`{}`: {error}", to.display()))?;
        let run = peer.restore(&self.repository(peer), &to);
        let cost = run.measure(&self.log(peer, "restore")?)?;
        println!(
            "{:9} restore   {:7.2} s wall {:7.1} s CPU {:6.0} MB memory",
            peer.tool.name(),
            cost.wall_secs,
            cost.cpu_secs,
            cost.rss_mb
        );
        self.expect_whole(&to)?;
        self.peers[at].1.restores.push(cost);
        Ok(())
    }

    /// A tool that restored less must not look quick.
    fn expect_whole(&self, to: &Path) -> Result<(), String> {
        let restored = length_of(to)?;
        if restored == self.tree.bytes() as f64 {
            return Ok(());
        }
        Err(format!(
            "`{}` holds {restored} bytes and not the tree's {}",
            to.display(),
            self.tree.bytes()
        ))
    }

    fn copy_tree(&mut self) -> Result<(), String> {
        sync();
        let to = self.folder.join("restored/cp");
        let watch = Stopwatch::start();
        copy(&self.tree.root, &to)?;
        self.copies.push(watch.secs());
        Ok(())
    }

    /// Deletes what rounds left behind.
    pub(super) fn clear(&self) -> Result<(), String> {
        for name in LEFT_BEHIND.iter().chain(&["aside"]) {
            let folder = self.folder.join(name);
            if folder.exists() {
                fs::remove_dir_all(&folder)
                    .map_err(|error| format!("`{}`: {error}", folder.display()))?;
            }
        }
        sync();
        Ok(())
    }

    pub(super) fn change(&self) -> Change {
        self.change
    }

    /// Returns what `cp -a` took, as a limit of the machine.
    pub(super) fn copies(&self) -> (String, String) {
        let secs = middle(self.copies.clone());
        ("`cp -a` of the tree".to_owned(), format!("{secs:.2} s"))
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
        let runs = peers.into_iter().flat_map(|peer| self.runs_of(peer));
        let folder = self.folder.to_string_lossy().into_owned();
        runs.map(|run| run.line().replace(&folder, "BENCH"))
            .collect()
    }

    fn runs_of(&self, peer: &Peer) -> Vec<Run> {
        let repository = self.repository(peer);
        let mut runs = peer.create(&repository);
        runs.extend(Step::ALL.map(|step| peer.backup(&repository, &self.tree.root, step)));
        runs.push(peer.restore(&repository, &self.output(peer)));
        runs
    }
}
