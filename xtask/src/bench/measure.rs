//! What one run of a program costs: wall time, CPU time, and memory of its largest process.
//!
//! The system adds up the cost of children only for the process that waited for them. So every
//! program runs under a little process of its own: this very program, called with `measured`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::account::Account;
use super::clock::Stopwatch;
use super::folder::at;

/// The hidden task under which this program runs another and writes down what it cost.
pub(crate) const TASK: &str = "measured";

/// How long processes that a program leaves behind may go on: what they cost is its cost too.
const LEFT_BEHIND_SECS_MAX: f64 = 60.0;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A program to run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) account: Account,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub(crate) struct Cost {
    pub(crate) wall_secs: f64,
    /// User and system time of all processes together.
    pub(crate) cpu_secs: f64,
    /// Memory of the largest process, MB.
    pub(crate) rss_mb: f64,
}

impl Run {
    /// Returns the run as one would type it.
    pub(crate) fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        let words = [name.to_string_lossy().into_owned()];
        let words = words.iter().chain(&self.args).map(String::as_str);
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs the program to its end. Its output goes to the file `log`.
    pub(crate) fn measure(&self, log: &Path) -> Result<Cost, String> {
        // What others left to be written must not be this run's work.
        sync();
        let own =
            std::env::current_exe().map_err(|error| format!("cannot find itself: {error}"))?;
        let report = log.with_extension("cost");
        let output = File::create(log).map_err(|error| at(log, &error))?;
        let errors = output.try_clone().map_err(|error| at(log, &error))?;
        let status = Command::new(own)
            .arg(TASK)
            .arg(&report)
            .arg(self.account.word())
            .arg(&self.program)
            .args(&self.args)
            .current_dir(&self.folder)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .map_err(|error| format!("failed to start `{}`: {error}", self.line()))?;
        if !status.success() {
            let tail = tail(&fs::read(log).unwrap_or_default());
            return Err(format!("`{}` failed: {status}\n{tail}", self.line()));
        }
        let text = fs::read_to_string(&report).map_err(|error| at(&report, &error))?;
        parse(&text).ok_or_else(|| format!("`{}` is not a cost", report.display()))
    }
}

/// Waits until everything written is on the disk.
pub(crate) fn sync() {
    // A failure shows in the next run's own syncs.
    let _ = Command::new("sync").status();
}

fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Option<Cost> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Cost {
        wall_secs: next()?,
        cpu_secs: next()?,
        rss_mb: next()?,
    })
}

/// The hidden task: `measured REPORT ACCOUNT PROGRAM ARGS…`.
pub(crate) fn measured(args: &[String]) -> ExitCode {
    let parsed = match args {
        [report, account, program, args @ ..] => {
            Account::parse(account).map(|account| (report, account, program, args))
        }
        _ => None,
    };
    let Some((report, account, program, args)) = parsed else {
        eprintln!("error: `{TASK}` is for this program's own use");
        return ExitCode::from(2);
    };
    adopt_orphans();
    let mut command = Command::new(program);
    account.apply(command.args(args));
    let watch = Stopwatch::start();
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: failed to start `{program}`: {error}");
            return ExitCode::FAILURE;
        }
    };
    let wall_secs = watch.secs();
    wait_for_orphans();
    let written = cost_of_children(wall_secs).and_then(|cost| {
        let line = format!("{} {} {}\n", cost.wall_secs, cost.cpu_secs, cost.rss_mb);
        fs::write(report, line).map_err(|error| error.to_string())
    });
    if let Err(problem) = written {
        eprintln!("error: `{report}`: {problem}");
        return ExitCode::FAILURE;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Makes this process the parent of those that a program leaves behind: a worker that runs on in the
/// background, while the program is called for the next thing, works for it.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        eprintln!("warning: work in the background is not counted: {error}");
    }
}

/// Waits until all who were left behind are gone, or for as long as they may go on.
fn wait_for_orphans() {
    let watch = Stopwatch::start();
    while watch.secs() < LEFT_BEHIND_SECS_MAX {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(LOOK_EVERY),
            Ok(_) => {}
            // There is none.
            Err(_) => return,
        }
    }
    eprintln!("warning: a process in the background goes on, and is not counted");
}

fn cost_of_children(wall_secs: f64) -> Result<Cost, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let secs = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(Cost {
        wall_secs,
        cpu_secs: secs(usage.user_time()) + secs(usage.system_time()),
        rss_mb: usage.max_rss() as f64 * 1024.0 / 1e6,
    })
}

/// Returns the middle one of each number; of an even count the upper.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| middle(costs.iter().map(of).collect());
    Cost {
        wall_secs: middle(|cost| cost.wall_secs),
        cpu_secs: middle(|cost| cost.cpu_secs),
        rss_mb: middle(|cost| cost.rss_mb),
    }
}

/// Returns the middle number; 0 if there is none.
pub(crate) fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_own_median() {
        let cost = |wall_secs, cpu_secs, rss_mb| Cost {
            wall_secs,
            cpu_secs,
            rss_mb,
        };
        let costs = [
            cost(3.0, 1.0, 5.0),
            cost(1.0, 2.0, 9.0),
            cost(2.0, 3.0, 7.0),
        ];
        assert_eq!(median(&costs), cost(2.0, 2.0, 7.0));
        assert_eq!(median(&[]), Cost::default());
    }

    #[test]
    fn a_cost_survives_its_file() {
        let cost = parse("1.5 2.25 30\n").unwrap();
        assert_eq!(
            (cost.wall_secs, cost.cpu_secs, cost.rss_mb),
            (1.5, 2.25, 30.0)
        );
        assert_eq!(parse("1.5 2.25"), None);
    }
}
