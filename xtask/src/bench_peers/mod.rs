//! `cargo xtask bench-peers`: the same work done by Lifeboat and by its peers, in one run.
//!
//! Figures from different hours of one machine differ more than good tools do. So the tools take
//! turns step by step, and the page that comes out compares them by ratio. Nothing here decides
//! what is fast enough: `report` says what was met, a person reads it.

mod peers;
mod report;
mod rounds;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use peers::{Peer, Tool};
use report::{Facts, Row};
use rounds::Bench;
use tree::Tree;

use crate::bench::folder::{absolute, at};
use crate::bench::{clock, limits, program};

/// What `cargo xtask bench-peers` was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// None makes the default tree.
    tree: Option<PathBuf>,
    /// Empty means every tool that can be had.
    only: Vec<String>,
    runs: u32,
    /// None is a dated file in `benches/results`.
    out: Option<PathBuf>,
    /// None builds a release.
    lifeboat: Option<PathBuf>,
    /// Where to look for peers first, and what to install others beside.
    peers: PathBuf,
}

/// Reads the arguments after `bench-peers`.
pub(crate) fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request {
        tree: None,
        only: Vec::new(),
        runs: 3,
        out: None,
        lifeboat: None,
        peers: PathBuf::from("target/peers/bin"),
    };
    let mut args = args.iter().map(String::as_str);
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(format!("`{option}` needs a value"));
        match option {
            "--tree" => request.tree = Some(value()?.into()),
            "--out" => request.out = Some(value()?.into()),
            "--lifeboat" => request.lifeboat = Some(value()?.into()),
            "--peers" => request.peers = value()?.into(),
            "--only" => request.only = names(value()?)?,
            "--runs" => {
                let number = value()?.parse().ok().filter(|number| *number > 0);
                request.runs = number.ok_or("`--runs` needs a number above 0")?;
            }
            _ => return Err(format!("`{option}` is not an option of `bench-peers`")),
        }
    }
    Ok(request)
}

fn names(list: &str) -> Result<Vec<String>, String> {
    let known = Tool::ALL.map(Tool::name);
    let names: Vec<String> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(names),
        Some(wrong) => Err(format!(
            "`{wrong}` is not a tool; one of: {}",
            known.join(", ")
        )),
    }
}

/// Does it.
pub(crate) fn run(request: &Request) -> Result<(), String> {
    let bench = absolute(Path::new("target/bench"))?;
    let out = match &request.out {
        Some(out) => out.clone(),
        None => format!("benches/results/{}-peers.md", clock::today()?).into(),
    };
    let mut notes = Vec::new();
    let peers = gather(request, &bench.join("homes"), &mut notes)?;
    if peers.is_empty() {
        return Err("there is no tool to measure".to_owned());
    }
    let tree = match &request.tree {
        Some(given) => Tree::copy_of(given, bench.join(format!("tree-{}", label(given))))?,
        None => Tree::standard(bench.join("tree"))?,
    };
    // Who brings a program wants no release built.
    let profile = request.lifeboat.as_ref().map_or("release", |_| "dev");
    let mut limits = limits::arithmetic(profile)?;
    limits.push(limits::reading("read the whole tree, cached", || {
        tree.read_all()
    })?);
    limits.push(limits::writing(&bench)?);
    let mut bench = Bench::new(bench, &tree, peers);
    for number in 0..request.runs {
        bench.round(number)?;
    }
    let limits = limits.into_iter().chain([bench.copies()]).collect();
    notes.extend_from_slice(bench.notes());
    // The page is for others, whose folders have other names.
    let here = absolute(Path::new("."))?.display().to_string();
    let notes = notes.iter().map(|note| note.replace(&here, ".")).collect();
    let rows: Vec<Row> = bench.rows();
    let facts = Facts {
        date: clock::today()?,
        machine: limits::machine(),
        tree: format!(
            "{:.0} MB in {} files",
            tree.bytes() as f64 / 1e6,
            tree.file_count()
        ),
        change: bench.change(),
        files: tree.file_count(),
        runs: request.runs,
        notes,
        limits,
        commands: bench.commands(),
    };
    bench.clear()?;
    fs::write(&out, report::page(&facts, &rows)).map_err(|error| at(&out, &error))?;
    println!("written: {}", out.display());
    Ok(())
}

/// Names the copy of a tree after it: `/srv/data` gives `srv-data`.
fn label(tree: &Path) -> String {
    let parts = tree.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => name.to_str(),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("-")
}

/// Finds or installs every tool asked for; a peer that cannot be had is noted, loudly.
fn gather(request: &Request, homes: &Path, notes: &mut Vec<String>) -> Result<Vec<Peer>, String> {
    let lifeboat = program::lifeboat(request.lifeboat.as_deref())?;
    if request.lifeboat.is_some() {
        notes.push(
            "Lifeboat is the program that `--lifeboat` gave, perhaps no release build".to_owned(),
        );
    }
    let folder = absolute(&request.peers)?;
    let wanted = |tool: &Tool| {
        request.only.is_empty() || request.only.iter().any(|name| name == tool.name())
    };
    let mut peers = Vec::new();
    for tool in Tool::ALL.into_iter().filter(wanted) {
        let program = match tool {
            Tool::Lifeboat => Ok(lifeboat.clone()),
            peer => peer.obtain(&folder),
        };
        match program.and_then(|program| Peer::new(tool, program, homes)) {
            Ok(peer) => peers.push(peer),
            Err(problem) => {
                eprintln!("SKIPPED: {}, because {problem}", tool.name());
                let first = problem.lines().next().unwrap_or_default();
                notes.push(format!("{} was not measured: {first}", tool.name()));
            }
        }
    }
    Ok(peers)
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
        let request = parsed("--tree /t --only restic,borg --runs 5 --out o.md").unwrap();
        assert_eq!(request.tree, Some("/t".into()));
        assert_eq!(request.only, ["restic", "borg"]);
        assert_eq!((request.runs, request.out), (5, Some("o.md".into())));
        assert_eq!(parsed("").unwrap().runs, 3);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("--only tar").unwrap_err().contains("`tar`"));
        assert!(parsed("--fast").unwrap_err().contains("`--fast`"));
        assert!(parsed("--runs 0").is_err());
        assert!(parsed("--tree").unwrap_err().contains("`--tree`"));
    }
}
