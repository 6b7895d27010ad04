//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use lifeboat_drill::Scenario;
use lifeboat_model::{EnvironmentClass, Tier};
use lifeboat_operations::RestorePoint;
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
    /// Put a snapshot back.
    Restore {
        /// The environment.
        environment: String,
        /// The source.
        source: String,
        /// Where to: a file for a database, an empty or missing folder for a folder.
        #[arg(long, value_name = "PLACE")]
        to: PathBuf,
        /// Which state: `latest`, "2h ago", an instant such as 2026-11-21T03:04:05Z or
        /// "2026-11-21 03:04" (this host's time), a date, or a snapshot's id.
        #[arg(long, default_value = "latest", value_name = "POINT")]
        at: RestorePoint,
        /// Only what matches this glob; may be given several times. Folders only.
        #[arg(long, value_name = "GLOB")]
        path: Vec<String>,
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
    /// Mask data.
    Mask {
        #[command(subcommand)]
        command: MaskCommand,
    },
    /// Make a masked copy of another environment's data and publish it.
    Refresh {
        /// The environment that gets the copy.
        environment: String,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy the repository to the other regions of an environment. Needs no key.
    Replicate {
        /// The environment.
        environment: String,
        /// One region; by default every replica.
        #[arg(long, value_name = "REGION")]
        to: Option<String>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
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

/// Working without a project: when a region and a key are all that is left.
#[derive(Debug, clap::Args)]
pub(crate) struct RescueArgs {
    /// Without a project: read the repository in this folder.
    #[arg(
        long,
        value_name = "FOLDER",
        requires = "key",
        conflicts_with = "region"
    )]
    pub(crate) from: Option<PathBuf>,
    /// Without a project: a file with a key, or with the recovery code.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) key: Option<PathBuf>,
}

impl RescueArgs {
    /// Returns the folder and the key file, if they were given.
    pub(crate) fn places(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.from.as_ref().zip(self.key.as_ref())
    }
}

/// What to do with masking rules.
#[derive(Debug, Subcommand)]
pub(crate) enum MaskCommand {
    /// Mask a SQLite database into a new file, and prove that nothing leaked.
    Run {
        /// The masking rules.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// The database to read; nobody may write to it meanwhile.
        #[arg(long, value_name = "DB")]
        input: PathBuf,
        /// The database to make; it must not exist.
        #[arg(long, value_name = "DB")]
        output: PathBuf,
        /// Where the leak report goes, as JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Check masking rules against a database before any row moves.
    Check {
        /// The masking rules.
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// The database whose schema they must cover.
        #[arg(long, value_name = "DB")]
        input: PathBuf,
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
