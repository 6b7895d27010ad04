//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use lifeboat_config::SourceId;
use lifeboat_drill::Scenario;
use lifeboat_model::{EnvironmentClass, SessionId, SystemId, Tier};
use lifeboat_operations::{Delta, RestorePoint, SnapshotRef};
use lifeboat_policy::Action;

/// Backups, masked staging copies and timed restore drills.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version, arg_required_else_help = true, after_help = CODES)]
pub(crate) struct Args {
    /// The project's folder; by default the nearest one upwards that holds lifeboat.toml.
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but errors, for scheduled jobs.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log more; twice for everything.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Set a configuration key for this run, such as `region.home.url=/mnt/backup`.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done but some items \
failed, 4 integrity failure, 5 objective missed, 6 not verified, 7 refused by policy, \
10 no repository, 11 busy, 12 wrong key, 75 skipped: already running or in a blackout, 130 interrupted.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story on a generated webshop, in under a minute.
    Demo {
        /// Keep everything in this folder, which must not exist or be empty.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// How many customers the webshop has.
        #[arg(long, default_value_t = 200_000, value_name = "N",
              value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
        customers: u64,
    },
    /// Start a project: write starter files, create the repository in its regions, and its keys.
    Init {
        /// What the project is called.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the whole configuration and ask every region.
    Check {
        /// Say where a value comes from, such as `environments.prod.objectives.rto`.
        #[arg(long, value_name = "KEY")]
        explain: Option<String>,
    },
    /// Back up the sources of an environment.
    Backup {
        /// The environment.
        environment: String,
        /// One source; by default all of them.
        source: Option<String>,
        /// The tier it counts for: hourly, daily, weekly, monthly, on-demand.
        #[arg(long, default_value_t = Tier::OnDemand)]
        tier: Tier,
        /// Read everything and build on no parent, whatever the tier's default.
        #[arg(long, conflicts_with = "incremental")]
        full: bool,
        /// Build on the newest snapshot, whatever the tier's default.
        #[arg(long)]
        incremental: bool,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// List snapshots.
    Snapshots {
        /// The environment; by default all of them.
        environment: Option<String>,
        /// One source.
        source: Option<String>,
        /// Read another region than the home.
        #[arg(long)]
        region: Option<String>,
        #[command(flatten)]
        rescue: RescueArgs,
    },
    /// Show everything that is known of a snapshot, and which regions hold it.
    Show {
        /// The first characters of its id, or ENV/SOURCE[@POINT] such as "prod/shop@2h ago".
        #[arg(value_name = "SNAP")]
        snapshot: SnapshotRef,
        #[command(flatten)]
        look: LookArgs,
    },
    /// List what a snapshot holds.
    Ls {
        /// The first characters of its id, or ENV/SOURCE[@POINT].
        #[arg(value_name = "SNAP")]
        snapshot: SnapshotRef,
        /// A folder or file within the source.
        #[arg(default_value = ".")]
        path: String,
        /// And all that is below.
        #[arg(long, short = 'R')]
        recursive: bool,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Find the versions of files: which snapshots hold them, and where they changed.
    Find {
        /// The environment.
        environment: String,
        /// One source; by default all of them.
        source: Option<String>,
        /// What matches this glob; may be given several times.
        #[arg(long, value_name = "GLOB", required = true)]
        path: Vec<String>,
        /// Leave out what is as in the snapshot before.
        #[arg(long)]
        changed: bool,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Show what changed between two snapshots.
    Diff {
        /// The earlier one: the first characters of its id, or ENV/SOURCE[@POINT].
        #[arg(value_name = "SNAP")]
        before: SnapshotRef,
        /// The later one.
        #[arg(value_name = "SNAP")]
        after: SnapshotRef,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Show a snapshot, or all of an environment, as a read-only folder until Ctrl-C.
    #[cfg(all(feature = "mount", target_os = "linux"))]
    Mount {
        /// An environment, or a snapshot: the first characters of its id, or ENV/SOURCE[@POINT].
        #[arg(value_name = "ENV|SNAP")]
        what: String,
        /// An empty folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Show what takes up the room in a repository, and what of it no snapshot needs.
    Stats {
        /// The environment whose home is measured; by default every home.
        environment: Option<String>,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Put a snapshot back.
    Restore {
        /// The environment.
        environment: String,
        /// The source.
        source: String,
        /// Where to: a file for a SQLite database, an empty or missing folder for a folder or a cluster.
        #[arg(long, value_name = "PLACE")]
        to: PathBuf,
        /// Which state: `latest`, "2h ago", an instant such as 2026-11-21T03:04:05Z or
        /// "2026-11-21 03:04" (this host's time), a date, or a snapshot's id. Of a cluster also
        /// `immediate`, an LSN, `xid:NUMBER` or `name:RESTORE-POINT`.
        #[arg(long, default_value = "latest", value_name = "POINT")]
        at: RestorePoint,
        /// Only what matches this glob; may be given several times. Folders only.
        #[arg(long, value_name = "GLOB")]
        path: Vec<String>,
        #[command(flatten)]
        delta: DeltaArgs,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Read another region than the home.
        #[arg(long)]
        region: Option<String>,
        /// The class of the environment that the target belongs to, if it is another one.
        #[arg(long, value_name = "CLASS")]
        into: Option<EnvironmentClass>,
        #[command(flatten)]
        rescue: RescueArgs,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Verify what the regions hold.
    Verify {
        /// The environment whose regions are looked at.
        environment: String,
        /// How deep to look.
        #[arg(long, value_enum, default_value_t = Level::Structure)]
        level: Level,
        /// With `--level sample`: every pack is read once in so many days.
        #[arg(long, default_value_t = 30, value_name = "N")]
        days: u16,
        /// One region; by default all of the environment.
        #[arg(long)]
        region: Option<String>,
    },
    /// Delete snapshots that no rule keeps, and whatever no snapshot needs any more.
    Prune {
        /// The environment whose snapshots are decided about.
        environment: String,
        /// One region; by default all of the environment, each on its own.
        #[arg(long)]
        region: Option<String>,
        /// A session known to be dead, though it has been seen within the hour.
        #[arg(long, value_name = "SESSION")]
        fence: Vec<SessionId>,
        /// Show what would be deleted, and why.
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring back what a region has lost, from the other regions.
    Repair {
        /// The environment whose regions are asked.
        environment: String,
        /// The region to repair; by default the home.
        #[arg(long)]
        region: Option<String>,
        /// The region to copy from; by default any that has a good copy.
        #[arg(long, value_name = "REGION")]
        from: Option<String>,
        /// How deep to look for damage.
        #[arg(long, value_enum, default_value_t = Level::Full)]
        level: Level,
        /// Show what would be brought back.
        #[arg(long)]
        dry_run: bool,
    },
    /// Keep, fetch and watch the write-ahead log of a PostgreSQL cluster.
    Wal {
        #[command(subcommand)]
        command: WalCommand,
    },
    /// Mask data.
    Mask {
        #[command(subcommand)]
        command: MaskCommand,
    },
    /// Make a masked copy of another environment's data and publish it.
    Refresh {
        /// The environment that gets the copy.
        environment: String,
        /// Publish a copy that was masked before, such as `latest`, instead of masking anew.
        #[arg(long, value_name = "SNAPSHOT")]
        masked: Option<RestorePoint>,
        /// Write the leak report into a file as well: a page if it ends in `.html`, else JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write a masked copy of a PostgreSQL database as a folder that `psql` alone can load.
    Export {
        /// The environment that has the copy.
        environment: String,
        /// An empty or missing folder; in it, `psql -d DATABASE -f load.sql` loads the copy.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Which copy: `latest`, an instant, or a snapshot's id.
        #[arg(long, default_value = "latest", value_name = "POINT")]
        at: RestorePoint,
        /// Read another region than the home.
        #[arg(long)]
        region: Option<String>,
    },
    /// Copy the repository to the other regions of an environment. Needs no key.
    Replicate {
        /// The environment.
        environment: String,
        /// One region; by default every replica.
        #[arg(long, value_name = "REGION")]
        to: Option<String>,
        /// Bytes a second at most, such as `20MiB`.
        #[arg(long, value_name = "RATE", value_parser = byte_count)]
        bandwidth: Option<u64>,
        /// Objects on their way at the same time; those up to 64 KiB go beside them.
        #[arg(long, value_name = "COUNT", default_value_t = 32,
              value_parser = clap::value_parser!(u16).range(1..=256))]
        transfers: u16,
        /// Go on until Ctrl-C or SIGTERM: what reaches the home alone reaches the others within seconds.
        #[arg(long, conflicts_with = "dry_run")]
        continuous: bool,
        /// How long to pause between two looks.
        #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration,
              requires = "continuous")]
        every: std::time::Duration,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Issue, list, print and revoke keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Rehearse a recovery.
    Drill {
        #[command(subcommand)]
        command: DrillCommand,
    },
    /// Run what schedules say is due: one cron line drives every job.
    Schedule {
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// Show where environments stand.
    Status {
        /// The environment; by default all of them.
        environment: Option<String>,
    },
}

/// Restoring a PostgreSQL cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Put a tablespace into another folder than it was in; may be given several times.
    #[arg(long, value_name = "OLD=NEW", value_parser = folder_pair)]
    pub(crate) tablespace: Vec<(PathBuf, PathBuf)>,
    /// Follow this timeline instead of the newest.
    #[arg(long, value_name = "N")]
    pub(crate) timeline: Option<u32>,
    /// Stop just before the point, not just after it.
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Stop at the point, and let whoever looks decide: neither promote nor shut down.
    #[arg(long)]
    pub(crate) pause: bool,
    /// Let it archive as the original did: it takes the original's place, somewhere else. One that is
    /// restored over its own data directory does so anyway.
    #[arg(long)]
    pub(crate) archive: bool,
    /// Bring the log along that is replayed, so that the server needs neither regions nor keys.
    #[arg(long)]
    pub(crate) with_log: bool,
    /// Start the server, wait until it has recovered, and leave it running.
    #[arg(long)]
    pub(crate) start: bool,
    /// Let its server listen on this port instead of the original's, which may run on the same host.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
}

/// Restoring over what is there.
#[derive(Debug, clap::Args)]
pub(crate) struct DeltaArgs {
    /// Bring what is at the target to the snapshot's state: what is the same stays, what differs is
    /// made anew, what the snapshot lacks is REMOVED. With `--dry-run`: say what that would be.
    #[arg(long)]
    pub(crate) delta: bool,
    /// With `--delta`: take files of the same size and mtime for equal, without reading them.
    #[arg(long, requires = "delta")]
    pub(crate) trust_mtime: bool,
}

impl DeltaArgs {
    /// Returns how to compare, if that was asked for.
    pub(crate) fn wanted(&self) -> Option<Delta> {
        let trust_mtime = self.trust_mtime;
        self.delta.then_some(Delta { trust_mtime })
    }
}

/// Where to look into a repository.
#[derive(Debug, clap::Args)]
pub(crate) struct LookArgs {
    /// Read another region than the home.
    #[arg(long)]
    pub(crate) region: Option<String>,
    #[command(flatten)]
    pub(crate) rescue: RescueArgs,
}

/// Working without a project: when a region and a key are all that is left.
#[derive(Debug, clap::Args)]
pub(crate) struct RescueArgs {
    /// Without a project: read the repository in this folder or bucket.
    #[arg(
        long,
        value_name = "FOLDER|s3://BUCKET/PREFIX",
        requires = "key",
        conflicts_with = "region"
    )]
    pub(crate) from: Option<PathBuf>,
    /// Without a project: a file with a key or the recovery code, or `passphrase:env:NAME`.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) key: Option<PathBuf>,
}

impl RescueArgs {
    /// Returns the folder and the key file, if they were given.
    pub(crate) fn places(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.from.as_ref().zip(self.key.as_ref())
    }
}

/// What rows to mask stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MaskFormat {
    /// A SQLite database.
    Sqlite,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What to do with a cluster's log.
#[derive(Debug, Subcommand)]
pub(crate) enum WalCommand {
    /// Keep one file of the log: `archive_command = 'lifeboat -C PROJECT wal push ENV SOURCE %p'`.
    /// Exit code 0 means that it is durable in the home region.
    Push {
        /// The environment.
        environment: String,
        /// The source.
        source: String,
        /// The file: `%p`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How many files that wait beside it are pushed along.
        #[arg(long, default_value_t = 16, value_name = "N")]
        along: usize,
    },
    /// Fetch one file of the log: what `restore_command` runs. Exit code 0: found; 1: there is no such
    /// file; 255: it cannot be had, and the recovery must stop.
    Fetch {
        /// The environment.
        environment: String,
        /// The source.
        source: String,
        /// The file's name: `%f`.
        #[arg(value_name = "NAME")]
        name: String,
        /// Where it goes: `%p`.
        #[arg(value_name = "PATH")]
        target: PathBuf,
        /// The cluster; by default that of the newest snapshot.
        #[arg(long, value_name = "ID")]
        system: Option<SystemId>,
        /// A folder for segments that are fetched ahead; of this recovery alone.
        #[arg(long, value_name = "DIR")]
        spool: Option<PathBuf>,
        /// How many segments are fetched ahead.
        #[arg(long, default_value_t = 16, value_name = "N")]
        ahead: u32,
        /// The last segment that the recovery needs: a hole behind it is none. By default all there are.
        #[arg(long, value_name = "SEGMENT")]
        until: Option<lifeboat_model::Segment>,
        /// What the restore was planned with, from FIRST to LAST, or a history's name: that it cannot be
        /// had is no end of the log. BYTES: of the last, if not all.
        #[arg(long, value_name = "FIRST-LAST[:BYTES]")]
        expect: Vec<lifeboat_operations::Expected>,
        /// Fetch those ahead, and nothing else: what `wal fetch` starts beside itself.
        #[arg(long, hide = true, requires = "spool")]
        only_ahead: bool,
        /// Remove the spool: what `recovery_end_command` runs.
        #[arg(long, hide = true, requires = "spool")]
        end: bool,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Receive the log as it is written, and keep it within the second, until Ctrl-C.
    Receive {
        /// The environment.
        environment: String,
        /// The source; by default the environment's first cluster.
        source: Option<String>,
        /// How long a byte may wait before it is kept.
        #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = duration)]
        within: std::time::Duration,
    },
    /// Show what can be recovered, what is missing, and what would be lost now.
    Status {
        /// The environment.
        environment: String,
        /// The source; by default all clusters of the environment.
        source: Option<String>,
        /// One region; by default all of the environment.
        #[arg(long)]
        region: Option<String>,
    },
}

/// What to do with masking rules.
#[derive(Debug, Subcommand)]
pub(crate) enum MaskCommand {
    /// Mask a SQLite database, CSV or JSON Lines, and prove that nothing leaked.
    Run {
        /// The masking rules.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// The database or file to read, or `-` for standard input; nobody may write to it meanwhile.
        #[arg(long, value_name = "FILE", default_value = "-")]
        input: PathBuf,
        /// The database or file to make, which must not exist, or `-` for standard output.
        #[arg(long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
        /// What input and output are; by default what their names end in.
        #[arg(long, value_name = "FORMAT")]
        format: Option<MaskFormat>,
        /// The table whose rules are meant, for CSV and JSON Lines.
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// What stands for NULL in CSV where it has no quotes; by default nothing at all.
        #[arg(long, value_name = "TEXT", default_value = "")]
        null: String,
        /// Where the leak report goes: a page if it ends in `.html`, otherwise JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Check masking rules against a database before any row moves.
    Check {
        /// The masking rules.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// The SQLite database whose schema they must cover.
        #[arg(long, value_name = "DB", required_unless_present = "source")]
        input: Option<PathBuf>,
        /// The source that they must cover: a PostgreSQL database, or a folder of CSV and JSON Lines. No row is
        /// read.
        #[arg(long, value_name = "ENV/SOURCE", conflicts_with = "input")]
        source: Option<SourceId>,
    },
    /// Propose a rule file from a schema and a sample of rows.
    Discover {
        /// A SQLite database that nobody writes to, CSV with a header, or JSON Lines; files may be packed.
        #[arg(long, value_name = "FILE", required_unless_present = "source")]
        input: Option<PathBuf>,
        /// The source that is looked at: a PostgreSQL database, or a folder of CSV and JSON Lines.
        #[arg(long, value_name = "ENV/SOURCE", conflicts_with = "input")]
        source: Option<SourceId>,
        /// Write the rules to this new file, instead of to stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show some rows before and after masking. Only on a terminal.
    Preview {
        /// The masking rules.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// A SQLite database that nobody writes to, a CSV file with a header, or JSON Lines.
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// One table; by default all of them.
        #[arg(long)]
        table: Option<String>,
        /// How many rows of each table.
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rows: u16,
    },
    /// Make a data set from a schema and rules alone; no production row is read.
    Synth {
        /// The masking rules: they say what values look like.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// A SQLite database or a file of SQL statements whose schema to use; by default the tables
        /// and columns that the rules name.
        #[arg(long, value_name = "FILE")]
        schema: Option<PathBuf>,
        /// How many rows each table gets, or `TABLE=N` for one; may be given several times.
        #[arg(long = "rows", value_name = "N|TABLE=N", required = true)]
        row_counts: Vec<RowCount>,
        /// Equal seeds make equal data.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// For a CSV file: which table.
        #[arg(long)]
        table: Option<String>,
        /// The file to make, which must not exist: `.csv`, otherwise a SQLite database.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the JSON Schema of rule files, for editors.
    Schema,
}

/// A number of rows, for every table or for one.
#[derive(Debug, Clone)]
pub(crate) struct RowCount {
    pub(crate) table: Option<String>,
    pub(crate) rows: u64,
}

impl std::str::FromStr for RowCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (table, number) = match text.rsplit_once('=') {
            Some((table, number)) => (Some(table.to_owned()), number),
            None => (None, text),
        };
        let rows = number.replace('_', "").parse();
        let rows = rows.map_err(|_| format!("`{number}` is no number of rows"))?;
        Ok(Self { table, rows })
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Issue a key. Takes the recovery code.
    Create {
        /// What it may do: auditor, pruner, writer or reader.
        role: String,
        /// What to call it: who or where its holder is. Public.
        #[arg(long, value_name = "LABEL")]
        name: Option<String>,
        /// Write its secret to this new file, instead of to stdout, once.
        #[arg(long, value_name = "FILE", conflicts_with = "passphrase_from")]
        out: Option<PathBuf>,
        /// Let its secret come from a passphrase: `env:NAME`, `file:PATH` or `command:LINE`.
        #[arg(long, value_name = "REF")]
        passphrase_from: Option<String>,
        /// A file with the recovery code; by default `root` in `[keys]`.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// List all keys, and where each opens the repository. Needs no key.
    List {
        /// A file with the recovery code: says which keys were issued with it.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
    },
    /// Make a key open nothing any more, in every region. Takes the recovery code.
    Revoke {
        /// The key's id, or how it begins.
        key: String,
        /// A file with the recovery code; by default `root` in `[keys]`.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a secret again that is configured on this host, for paper or a vault.
    Export {
        /// `root`, a role, or a key's id.
        key: String,
        /// A file with the recovery code; by default `root` in `[keys]`.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
    },
}

/// What to do with drills.
#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Restore into a scratch place, check the data, judge RTO and RPO.
    Run {
        /// The environment.
        environment: String,
        /// The source; by default the environment's first database.
        source: Option<String>,
        /// What is pretended to be lost: `latest` (the source), `region-loss` (its home too).
        #[arg(long, default_value_t = Scenario::Latest)]
        scenario: Scenario,
        /// The region that serves.
        #[arg(long)]
        region: Option<String>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Show where each job stands: its last success, and whether and why it is due. Needs no key.
    Due {
        /// The environment; by default all that have a schedule.
        environment: Option<String>,
    },
    /// Show when jobs will start, and what the clock does to them.
    Preview {
        /// The environment; by default all that have a schedule.
        environment: Option<String>,
        /// How many starts of each job.
        #[arg(long, default_value_t = 3, value_name = "N",
              value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
        /// From when: now, a date, an instant such as 2026-10-24T00:00:00Z or "2026-10-24 12:00" (the
        /// schedule's time).
        #[arg(long, value_name = "INSTANT")]
        from: Option<From>,
    },
    /// Run every job that is due, or one.
    Run {
        /// Run what is due, in all environments that have a schedule or in the one named.
        #[arg(long, conflicts_with = "job")]
        due: bool,
        /// The environment.
        #[arg(required_unless_present = "due")]
        environment: Option<String>,
        /// The job to run now, due or not.
        #[arg(required_unless_present = "due")]
        job: Option<String>,
        /// With `--due`: only jobs that do this, such as `backup,replicate` on a host without the
        /// reader key.
        #[arg(long, value_name = "ACTION", value_delimiter = ',', requires = "due")]
        only: Vec<Action>,
        /// Run the job even in a blackout.
        #[arg(long, conflicts_with = "due")]
        ignore_blackout: bool,
        /// Show what would be run.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Reads a number of bytes with a unit: `500kB`, `20MiB`.
fn byte_count(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of bytes: write it like `500kB` or `20MiB`");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// Where a preview begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// A moment.
    Instant(Timestamp),
    /// A moment by the schedule's clock.
    Civil(DateTime),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let instant = || text.parse().map(Self::Instant);
        let civil = || text.parse().map(Self::Civil);
        instant().or_else(|_| civil()).map_err(|_: jiff::Error| {
            "write a date, `2026-10-24 12:00` or an instant such as 2026-10-24T12:00:00Z".to_owned()
        })
    }
}

/// How deep a verification looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Names and sizes.
    Quick,
    /// And every chunk of every snapshot can be found.
    Structure,
    /// And the packs whose turn it is are read.
    Sample,
    /// And every byte is read.
    Full,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    lifeboat_operations::parse_duration(text)
        .map_err(|_| "write a duration with its unit, such as `1s` or `500ms`".to_owned())
}

fn folder_pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once('=') {
        Some((old, new)) if old.starts_with('/') && new.starts_with('/') => {
            Ok((old.into(), new.into()))
        }
        _ => Err("write OLD=NEW, two absolute folders".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
