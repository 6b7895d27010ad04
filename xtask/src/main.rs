//! Development tasks, run as `cargo xtask <task>`.
//!
//! `test` is the one command that the README names, that people run before they push and that CI
//! runs. It prints every command before it runs it, so that nothing happens behind anybody's back.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod bench;
mod bench_peers;
mod bench_postgres;
mod bench_refresh;
mod detectors;
mod fuzz;
mod garage;
mod install;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use steps::{STEPS, Step};

const USAGE: &str = "\
Usage: cargo xtask test [--only <step>] [--skip-install] [--with-garage [--garage <program>]]
       cargo xtask fuzz [--seconds <n>] [<target>...] | --write-seeds
       cargo xtask bench-peers [--tree <folder>] [--only <tool>,...] [--runs <n>] [--out <file>]
                               [--lifeboat <program>] [--peers <folder>]
       cargo xtask bench-postgres [--scale <n>] [--runs <n>] [--seconds <n>] [--segments <n>]
                               [--only <tool>,...] [--pgbackrest <program>] [--lifeboat <program>]
                               [--bin <folder>] [--out <file>]
       cargo xtask bench-refresh [--customers <n>] [--runs <n>] [--lifeboat <program>] [--bin <folder>]
                               [--out <file>]
       cargo xtask score-detectors [--seed <n>] [--per-kind <n>]

test: installs the servers that the tests need, then runs fmt, clippy, test, doc and fuzz.

  --only <step>     run this step alone: fmt, clippy, test, doc or fuzz
  --skip-install    do not look for missing servers
  --with-garage     run the tests of object stores, and nothing else, against garage, an S3 server
                    for production, which `cargo install garage` builds
  --garage <program>  the one to run (the one in the path)

fuzz: builds the fuzz targets and runs each, or those named.

  --seconds <n>     run each for so long (10)
  --write-seeds     write fuzz/seeds anew, after a change of the stored format

bench-peers: installs other backup tools and measures the same work with each.

  --tree <folder>   work on a copy of this folder; by default on one of 2.5 GB that is made once
  --only <tool>,... only these of: lifeboat, restic, rustic, borg, bupstash, conserve
  --runs <n>        medians of so many rounds (3)
  --out <file>      where to write the page (benches/results/<date>-peers.md)
  --lifeboat <program>  measure this one instead of building a release
  --peers <folder>  where to look for tools first (target/peers/bin)

bench-postgres: measures Lifeboat and pgBackRest on one PostgreSQL cluster.

  --scale <n>       size of the cluster, in units of 15 MB (300)
  --runs <n>        medians of so many rounds (3)
  --seconds <n>     how long pgbench writes between full and incremental backup (60)
  --segments <n>    how many WAL segments are pushed and fetched (61)
  --only <tool>,... only these of: lifeboat, pgbackrest
  --pgbackrest <program>  measure this one instead of what is installed
  --lifeboat <program>  measure this one instead of building a release
  --bin <folder>    the server's programs (the newest in /usr/lib/postgresql, else in the path)
  --out <file>      where to write the page (benches/results/<date>-postgres.md)

bench-refresh: copies one PostgreSQL database with Lifeboat, masked and unmasked, with pg_dump and
pg_restore, and with pgcopydb.

  --customers <n>   how many people, and as many orders (5000000)
  --runs <n>        medians of so many rounds (3)
  --lifeboat, --bin, --out  as of bench-postgres (benches/results/<date>-refresh.md)

score-detectors: makes labelled values with PyPI's Faker and scores the masking detectors on them.

  --seed <n>        make other values (77)
  --per-kind <n>    so many of each kind (2000)

With REQUIRE_SERVERS=1 in the environment a missing server is a failure, with REQUIRE_FUZZ=1 a
missing nightly toolchain or cargo-fuzz.";

/// What `cargo xtask test` was asked to do.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    steps: &'static [Step],
    install: Install,
    /// Where garage is, if only the tests that want it are to run; empty: in the path.
    garage: Option<Option<PathBuf>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Install {
    WhatIsMissing,
    Nothing,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if matches!(
        args.first().map(String::as_str),
        None | Some("help" | "-h" | "--help")
    ) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if args[0] == bench::measure::TASK {
        return bench::measure::measured(&args[1..]);
    }
    if args[0] == bench_postgres::ARCHIVER {
        return bench_postgres::play(&args[1..]);
    }
    let task = match parse_task(&args) {
        Ok(task) => task,
        Err(problem) => {
            eprintln!("error: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match &task {
        Task::Test(request) => run(request),
        Task::Fuzz(request) => fuzz::run(request),
        Task::BenchPeers(request) => bench_peers::run(request),
        Task::ScoreDetectors(request) => detectors::run(request),
        Task::BenchPostgres(request) => bench_postgres::run(request),
        Task::BenchRefresh(request) => bench_refresh::run(request),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nerror: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
enum Task {
    Test(Request),
    Fuzz(fuzz::Request),
    BenchPeers(bench_peers::Request),
    ScoreDetectors(detectors::Request),
    BenchPostgres(bench_postgres::Request),
    BenchRefresh(bench_refresh::Request),
}

fn parse_task(args: &[String]) -> Result<Task, String> {
    match args.split_first() {
        Some((task, rest)) if task == "fuzz" => fuzz::parse(rest).map(Task::Fuzz),
        Some((task, rest)) if task == "bench-peers" => {
            bench_peers::parse(rest).map(Task::BenchPeers)
        }
        Some((task, rest)) if task == "score-detectors" => {
            detectors::parse(rest).map(Task::ScoreDetectors)
        }
        Some((task, rest)) if task == "bench-postgres" => {
            bench_postgres::parse(rest).map(Task::BenchPostgres)
        }
        Some((task, rest)) if task == "bench-refresh" => {
            bench_refresh::parse(rest).map(Task::BenchRefresh)
        }
        _ => parse(args).map(Task::Test),
    }
}

fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request {
        steps: STEPS,
        install: Install::WhatIsMissing,
        garage: None,
    };
    let mut args = args.iter().map(String::as_str);
    match args.next() {
        Some("test") => {}
        Some(task) => return Err(format!("`{task}` is not a task")),
        None => return Err("no task given".to_owned()),
    }
    while let Some(arg) = args.next() {
        match arg {
            "--skip-install" => request.install = Install::Nothing,
            "--only" => {
                let name = args.next().ok_or("`--only` needs the name of a step")?;
                request.steps = steps::named(name)?;
            }
            "--with-garage" => request.garage = Some(request.garage.flatten()),
            "--garage" => {
                let program = args.next().ok_or("`--garage` needs a program")?;
                request.garage = Some(Some(program.into()));
            }
            _ => return Err(format!("`{arg}` is not an option of `test`")),
        }
    }
    Ok(request)
}

fn run(request: &Request) -> Result<(), String> {
    if let Some(program) = &request.garage {
        return garage::test(program.as_deref());
    }
    // Only the tests talk to servers.
    let needs_servers = request.steps.iter().any(|step| step.name == "test");
    if needs_servers && request.install == Install::WhatIsMissing {
        install::servers()?;
    }
    for step in request.steps {
        step.run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn a_plain_test_installs_and_runs_every_step() {
        let request = parsed("test").unwrap();
        assert_eq!(request.install, Install::WhatIsMissing);
        let names: Vec<_> = request.steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["fmt", "clippy", "test", "doc", "fuzz"]);
    }

    #[test]
    fn only_runs_one_step() {
        let request = parsed("test --only doc --skip-install").unwrap();
        assert_eq!(request.install, Install::Nothing);
        assert_eq!(request.steps.len(), 1);
        assert_eq!(request.steps[0].name, "doc");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("tset").unwrap_err().contains("`tset`"));
        assert!(parsed("test --fast").unwrap_err().contains("`--fast`"));
        assert!(parsed("test --only lint").unwrap_err().contains("`lint`"));
        assert!(parsed("test --only").is_err());
    }
}
