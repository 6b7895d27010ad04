//! `cargo xtask bench-postgres`: one PostgreSQL cluster backed up and restored by Lifeboat and by
//! pgBackRest, in one run.
//!
//! As in `bench_peers` the tools take turns step by step, and the page compares them by ratio.
//! PostgreSQL refuses root; so if root runs this, the server and all tools run under another account.

mod archiver;
mod report;
mod rounds;
mod segments;
pub(crate) mod server;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use archiver::{TASK as ARCHIVER, play};
use report::Facts;
use rounds::{Bench, Setting};
use segments::Segments;
use server::Server;
use tools::{Peer, Tool};

use crate::bench::account::Account;
use crate::bench::folder::{absolute, at, remove};
use crate::bench::{clock, limits, program};

/// What `cargo xtask bench-postgres` was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Of pgbench: 15 MB each.
    scale: u32,
    runs: u32,
    /// How long pgbench writes between full and incremental, seconds.
    write_secs: u32,
    /// How many segments are pushed and fetched.
    segments: usize,
    /// Empty means every tool that can be had.
    only: Vec<String>,
    /// None looks in the path, and installs it.
    pgbackrest: Option<PathBuf>,
    /// None builds a release.
    lifeboat: Option<PathBuf>,
    /// None takes the newest server there is.
    bin: Option<PathBuf>,
    /// None is a dated file in `benches/results`.
    out: Option<PathBuf>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            scale: 300,
            runs: 3,
            write_secs: 60,
            segments: 61,
            only: Vec::new(),
            pgbackrest: None,
            lifeboat: None,
            bin: None,
            out: None,
        }
    }
}

/// Reads the arguments after `bench-postgres`.
pub(crate) fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut args = args.iter().map(String::as_str);
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(format!("`{option}` needs a value"));
        match option {
            "--scale" => request.scale = number(option, value()?)?,
            "--runs" => request.runs = number(option, value()?)?,
            "--seconds" => request.write_secs = number(option, value()?)?,
            "--segments" => request.segments = number(option, value()?)? as usize,
            "--only" => request.only = names(value()?)?,
            "--pgbackrest" => request.pgbackrest = Some(value()?.into()),
            "--lifeboat" => request.lifeboat = Some(value()?.into()),
            "--bin" => request.bin = Some(value()?.into()),
            "--out" => request.out = Some(value()?.into()),
            _ => return Err(format!("`{option}` is not an option of `bench-postgres`")),
        }
    }
    Ok(request)
}

/// Reads the value of an option that counts something.
pub(crate) fn number(option: &str, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{option}` needs a number above 0"))
}

fn names(list: &str) -> Result<Vec<String>, String> {
    let known = Tool::ALL.map(Tool::program_name);
    let names: Vec<String> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(names),
        Some(wrong) => Err(format!(
            "`{wrong}` is not a tool; one of: lifeboat, pgbackrest"
        )),
    }
}

/// Does it.
pub(crate) fn run(request: &Request) -> Result<(), String> {
    let out = match &request.out {
        Some(out) => out.clone(),
        None => format!("benches/results/{}-postgres.md", clock::today()?).into(),
    };
    let account = Account::unprivileged();
    let folder = bench_folder(account)?;
    let bin = server::programs(request.bin.as_deref())?;
    let mut notes = Vec::new();
    let peers = gather(request, &folder, account, &mut notes)?;
    let limits = machine_limits(request, &peers, &folder)?;
    let mut bench = Bench::new(set_up(request, &bin, &folder, account)?, peers);
    for number in 0..request.runs {
        bench.round(number)?;
    }
    notes.extend_from_slice(bench.notes());
    let (cluster, change) = bench.describe()?;
    let facts = Facts {
        date: clock::today()?,
        machine: limits::machine(),
        cluster,
        change,
        segments: bench.segment_count(),
        runs: request.runs,
        notes: without_here(&notes)?,
        limits: limits.into_iter().chain(bench.limits()).collect(),
        commands: bench.commands(),
    };
    let page = report::page(&facts, &bench.rows());
    bench.clear()?;
    // Stops the server.
    drop(bench);
    remove(&folder.join(SERVER))?;
    remove(&folder.join(SEGMENTS))?;
    fs::write(&out, page).map_err(|error| at(&out, &error))?;
    println!("written: {}", out.display());
    Ok(())
}

/// Folders of the bench that last from its first round to its last.
const SERVER: &str = "server";
const SEGMENTS: &str = "segments";
const PROGRAMS: &str = "programs";

/// Makes the folder of the bench, where `account` may work.
fn bench_folder(account: Account) -> Result<PathBuf, String> {
    let folder = absolute(Path::new("target/bench-postgres"))?;
    account.own(&folder)?;
    for name in ["logs", PROGRAMS] {
        account.make_folder(&folder.join(name))?;
    }
    if account.may_enter(&folder.join("logs")) {
        return Ok(folder);
    }
    Err(format!(
        "the account that the server runs under may not enter `{}`: allow it (`chmod o+x`) for each folder \
         above, or run this as another user than root",
        folder.display()
    ))
}

/// Finds or installs the tools asked for; a peer that cannot be had is noted, loudly.
fn gather(
    request: &Request,
    folder: &Path,
    account: Account,
    notes: &mut Vec<String>,
) -> Result<Vec<Peer>, String> {
    let wanted = |tool: &Tool| {
        request.only.is_empty() || request.only.iter().any(|name| name == tool.program_name())
    };
    let mut peers = Vec::new();
    for tool in Tool::ALL.into_iter().filter(wanted) {
        let program = match tool {
            Tool::Lifeboat => {
                if request.lifeboat.is_some() {
                    let note =
                        "Lifeboat is the program that `--lifeboat` gave, perhaps no release build";
                    notes.push(note.to_owned());
                }
                let program = program::lifeboat(request.lifeboat.as_deref())?;
                Ok(copy_program(&program, folder, account)?)
            }
            Tool::PgBackRest | Tool::PgBackRestEncrypted => {
                tools::pgbackrest(request.pgbackrest.as_deref())
            }
        };
        match program.and_then(|program| Peer::new(tool, program, folder, account)) {
            Ok(peer) => {
                notes.extend(peer.note());
                peers.push(peer);
            }
            Err(problem) => {
                eprintln!("SKIPPED: {}, because {problem}", tool.name());
                let first = problem.lines().next().unwrap_or_default();
                notes.push(format!("{} was not measured: {first}", tool.name()));
            }
        }
    }
    match peers.is_empty() {
        true => Err("there is no tool to measure".to_owned()),
        false => Ok(peers),
    }
}

/// Copies a program to where `account` may run it.
fn copy_program(program: &Path, folder: &Path, account: Account) -> Result<PathBuf, String> {
    let name = program.file_name().ok_or("a program has a name")?;
    let copy = folder.join(PROGRAMS).join(name);
    fs::copy(program, &copy).map_err(|error| at(program, &error))?;
    account.own(&copy)?;
    Ok(copy)
}

fn machine_limits(
    request: &Request,
    peers: &[Peer],
    folder: &Path,
) -> Result<Vec<limits::Limit>, String> {
    let mut limits = Vec::new();
    // They are the floor of what is built here; building them takes long beside a quick look at peers.
    let built = peers.iter().any(|peer| peer.tool == Tool::Lifeboat) && request.lifeboat.is_none();
    if built {
        limits = limits::arithmetic("release")?;
    }
    limits.push(limits::writing(folder)?);
    Ok(limits)
}

/// Makes the cluster and fills it; makes the segments.
fn set_up(
    request: &Request,
    bin: &Path,
    folder: &Path,
    account: Account,
) -> Result<Setting, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find itself: {error}"))?;
    let own = copy_program(&own, folder, account)?;
    println!("making a cluster of scale {}", request.scale);
    let server = Server::create(bin, &folder.join(SERVER), account)?;
    server.fill(request.scale)?;
    println!("filling {} segments", request.segments);
    remove(&folder.join(SEGMENTS))?;
    let segments = Segments::make(&server, folder.join(SEGMENTS), request.segments, account)?;
    Ok(Setting {
        folder: folder.to_owned(),
        account,
        own,
        server,
        segments,
        write_secs: request.write_secs,
    })
}

/// The page is for others, whose folders have other names.
fn without_here(notes: &[String]) -> Result<Vec<String>, String> {
    let here = absolute(Path::new("."))?.display().to_string();
    Ok(notes.iter().map(|note| note.replace(&here, ".")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn options_are_what_was_asked() {
        let line = "--scale 5 --runs 1 --seconds 3 --segments 7 --only pgbackrest,lifeboat \
                    --pgbackrest /p --lifeboat l --bin /b --out o.md";
        let expected = Request {
            scale: 5,
            runs: 1,
            write_secs: 3,
            segments: 7,
            only: vec!["pgbackrest".to_owned(), "lifeboat".to_owned()],
            pgbackrest: Some("/p".into()),
            lifeboat: Some("l".into()),
            bin: Some("/b".into()),
            out: Some("o.md".into()),
        };
        assert_eq!(parsed(line).unwrap(), expected);
        assert_eq!(parsed("").unwrap(), Request::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("--only barman").unwrap_err().contains("`barman`"));
        assert!(parsed("--fast").unwrap_err().contains("`--fast`"));
        assert!(parsed("--bin").unwrap_err().contains("`--bin`"));
        for option in ["--scale", "--runs", "--seconds", "--segments"] {
            let problem = parsed(&format!("{option} 0")).unwrap_err();
            assert!(problem.contains(option), "{problem}");
        }
    }
}
