//! `cargo xtask fuzz`: builds the fuzz targets in `fuzz/` and runs each for a while.
//!
//! Needs the nightly toolchain and cargo-fuzz. It installs the latter if it can; where either
//! cannot be had it says so and skips, unless `REQUIRE_FUZZ=1` asks for a failure instead.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::install;

/// Where everything that a run makes goes: builds, inputs found, logs, crashes.
const OUTPUT: &str = "target/fuzz";
/// What bounds an input and the memory it may cost: a parser that believes a claimed length fails.
const LIMITS: &[&str] = &[
    "-max_len=8192",
    "-malloc_limit_mb=320",
    "-rss_limit_mb=2048",
    "-timeout=10",
];

/// Files that serve as seeds where they are.
const SEEDS_ELSEWHERE: &[(&str, &str)] = &[
    ("config", "crates/config/src/templates"),
    ("schedule", "schedules"),
    ("masking_rules", "masking-rules"),
    ("masking_checks", "masking-rules/samples"),
    ("detectors", "crates/masking/tests/data"),
    ("document", "schedules"),
];

/// What `cargo xtask fuzz` was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Run {
        seconds: u32,
        /// None means all of them.
        targets: Vec<String>,
    },
    WriteSeeds,
}

/// Reads the arguments after `fuzz`.
pub(crate) fn parse(args: &[String]) -> Result<Request, String> {
    let (mut seconds, mut targets) = (10, Vec::new());
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--write-seeds" => return Ok(Request::WriteSeeds),
            "--seconds" => {
                let number = args.next().and_then(|text| text.parse().ok());
                seconds = number
                    .filter(|number| *number > 0)
                    .ok_or("`--seconds` needs a number above 0")?;
            }
            _ if arg.starts_with('-') => {
                return Err(format!("`{arg}` is not an option of `fuzz`"));
            }
            _ => targets.push(arg.to_owned()),
        }
    }
    Ok(Request::Run { seconds, targets })
}

/// Does it.
pub(crate) fn run(request: &Request) -> Result<(), String> {
    match request {
        Request::WriteSeeds => write_seeds(),
        Request::Run { seconds, targets } => {
            let targets = chosen(targets)?;
            if let Err(missing) = tools() {
                if install::is_required("REQUIRE_FUZZ") {
                    return Err(format!(
                        "{missing}\nREQUIRE_FUZZ=1 is set, so this is a failure"
                    ));
                }
                eprintln!("SKIPPED: fuzzing, because {missing}");
                return Ok(());
            }
            build()?;
            let triple = host_triple()?;
            let broken: Vec<&str> = targets
                .iter()
                .filter(|target| !fuzz(target, &triple, *seconds))
                .map(String::as_str)
                .collect();
            match broken.as_slice() {
                [] => Ok(()),
                _ => Err(format!("fuzzing broke: {}", broken.join(", "))),
            }
        }
    }
}

/// Returns the targets asked for, or all that there are, sorted.
fn chosen(wanted: &[String]) -> Result<Vec<String>, String> {
    let folder = Path::new("fuzz/targets");
    let entries = folder
        .read_dir()
        .map_err(|error| format!("`{}` cannot be listed: {error}", folder.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut known: Vec<String> = entries
        .flatten()
        .filter_map(|entry| stem(entry.path()))
        .collect();
    known.sort();
    if let Some(wrong) = wanted.iter().find(|target| !known.contains(target)) {
        return Err(format!(
            "`{wrong}` is not a fuzz target; one of: {}",
            known.join(", ")
        ));
    }
    if !wanted.is_empty() {
        known.retain(|target| wanted.contains(target));
    }
    Ok(known)
}

/// Makes sure that the tools are there, or says which is not.
fn tools() -> Result<(), String> {
    if !install::succeeds("cargo", &["+nightly", "--version"]) {
        return Err(
            "there is no nightly toolchain; run:\n    rustup toolchain install nightly".to_owned(),
        );
    }
    if install::succeeds("cargo", &["fuzz", "--version"]) {
        return Ok(());
    }
    install::cargo_install(&["cargo-fuzz"])
}

fn build() -> Result<(), String> {
    // The product's versions are what must hold, so its lock file is the one to build with.
    fs::copy("Cargo.lock", "fuzz/Cargo.lock")
        .map_err(|error| format!("`Cargo.lock` cannot be copied into `fuzz`: {error}"))?;
    let line = format!("+nightly fuzz build --fuzz-dir fuzz --target-dir {OUTPUT}");
    println!("running: cargo {line}");
    let status = Command::new("cargo")
        .args(line.split(' '))
        .status()
        .map_err(|error| format!("failed to start `cargo`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("the fuzz targets do not build".to_owned())
    }
}

/// Runs one target; tells whether it survived.
fn fuzz(target: &str, triple: &str, seconds: u32) -> bool {
    match try_fuzz(target, triple, seconds) {
        Ok(line) => {
            println!("fuzz {target}: {line}");
            true
        }
        Err(problem) => {
            eprintln!("fuzz {target}: {problem}");
            false
        }
    }
}

fn try_fuzz(target: &str, triple: &str, seconds: u32) -> Result<String, String> {
    let corpus = format!("{OUTPUT}/corpus/{target}");
    let crashes = format!("{OUTPUT}/crashes/{target}/");
    let log = format!("{OUTPUT}/logs/{target}.log");
    for folder in [corpus.as_str(), &crashes, &format!("{OUTPUT}/logs")] {
        fs::create_dir_all(folder).map_err(|error| format!("`{folder}`: {error}"))?;
    }
    let program = format!("{OUTPUT}/{triple}/release/{target}");
    let output = File::create(&log).map_err(|error| format!("`{log}`: {error}"))?;
    let status = Command::new(&program)
        .arg(corpus)
        .args(seeds(target))
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={crashes}"))
        .arg("-print_final_stats=1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .map_err(|error| format!("`{program}` does not start: {error}"))?;
    let text = fs::read(&log).map_err(|error| format!("`{log}`: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    if status.success() {
        return Ok(figures(&text));
    }
    Err(format!(
        "{status}\n{}\nthe input is in `{crashes}`, all output in `{log}`\nto replay it: {program} INPUT",
        complaint(&text)
    ))
}

/// Returns the folders of inputs to begin with.
fn seeds(target: &str) -> Vec<String> {
    let own = format!("fuzz/seeds/{target}");
    let elsewhere = SEEDS_ELSEWHERE.iter().filter(|(name, _)| *name == target);
    let elsewhere = elsewhere.map(|(_, folder)| (*folder).to_owned());
    let all = elsewhere.chain([own]);
    all.filter(|folder| Path::new(folder).is_dir()).collect()
}

/// Takes what is worth a line out of libFuzzer's output.
fn figures(log: &str) -> String {
    let stat = |name: &str| {
        let value = log.lines().find_map(|line| line.strip_prefix(name));
        value.map_or("?", |value| value.trim_start_matches(':').trim())
    };
    let covered = log.lines().rev().find_map(|line| {
        let rest = line.split_once(" cov: ")?.1;
        rest.split_whitespace().next()
    });
    format!(
        "{} inputs, {} a second, {} edges, {} MB",
        stat("stat::number_of_executed_units"),
        stat("stat::average_exec_per_sec"),
        covered.unwrap_or("?"),
        stat("stat::peak_rss_mb")
    )
}

/// Returns the lines that say what broke.
fn complaint(log: &str) -> String {
    let telling = |line: &&str| {
        line.contains("panicked at") || line.contains("ERROR:") || line.contains("SUMMARY:")
    };
    let lines: Vec<&str> = log.lines().filter(telling).take(5).collect();
    lines.join("\n")
}

fn host_triple() -> Result<String, String> {
    let output = Command::new("rustc")
        .args(["+nightly", "-vV"])
        .output()
        .map_err(|error| format!("failed to start `rustc`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

fn write_seeds() -> Result<(), String> {
    let line =
        "test --package lifeboat-repository --lib -- --ignored --exact fuzzing::seeds::write_seeds";
    println!("running: cargo {line}");
    let status = Command::new("cargo")
        .args(line.split(' '))
        .status()
        .map_err(|error| format!("failed to start `cargo`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("the seeds could not be written".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn seconds_and_targets_are_what_was_asked() {
        let all = Request::Run {
            seconds: 10,
            targets: vec![],
        };
        assert_eq!(parsed(""), Ok(all));
        let some = Request::Run {
            seconds: 60,
            targets: vec!["pack".to_owned(), "index".to_owned()],
        };
        assert_eq!(parsed("--seconds 60 pack index"), Ok(some));
        assert_eq!(parsed("--write-seeds"), Ok(Request::WriteSeeds));
        assert!(parsed("--seconds 0").is_err());
        assert!(parsed("--quick").unwrap_err().contains("`--quick`"));
    }

    #[test]
    fn figures_come_from_the_end_of_a_log() {
        let log = "#2 INITED cov: 10 ft: 11 corp: 1\n#99 DONE   cov: 25 ft: 30 corp: 3\n\
                   stat::number_of_executed_units: 99\nstat::average_exec_per_sec:     33\n\
                   stat::peak_rss_mb:              44\n";
        assert_eq!(figures(log), "99 inputs, 33 a second, 25 edges, 44 MB");
    }
}
