//! `cargo xtask score-detectors`: makes labelled values with PyPI's Faker and scores the detectors on them.
//!
//! Needs python3 with its venv and pip; where they cannot be had it says so and scores the committed
//! sample.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::install;

const VENV: &str = "target/detectors/venv";
const LABELLED: &str = "target/detectors/labelled.jsonl";

/// What `cargo xtask score-detectors` was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    seed: u64,
    per_kind: u32,
}

/// Reads the arguments after `score-detectors`.
pub(crate) fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request {
        seed: 77,
        per_kind: 2_000,
    };
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let number = || format!("`{arg}` needs a number");
        let mut next = || args.next().ok_or_else(number);
        match arg {
            "--seed" => request.seed = next()?.parse().map_err(|_| number())?,
            "--per-kind" => request.per_kind = next()?.parse().map_err(|_| number())?,
            _ => return Err(format!("`{arg}` is not an option of `score-detectors`")),
        }
    }
    Ok(request)
}

/// Does it.
pub(crate) fn run(request: &Request) -> Result<(), String> {
    let mut score = Command::new("cargo");
    score.args(["test", "-p", "lifeboat-masking", "--test", "detectors"]);
    score.args(["table_of_a_larger_set", "--", "--nocapture"]);
    match make(request) {
        Ok(()) => {
            let file = std::path::absolute(LABELLED).map_err(|error| error.to_string())?;
            score.env("LIFEBOAT_LABELLED", file);
        }
        Err(missing) => {
            eprintln!("SKIPPED: making values, because {missing}\nscoring the committed sample");
        }
    }
    done(&mut score, "the detectors cannot be scored")
}

/// Makes the labelled values.
fn make(request: &Request) -> Result<(), String> {
    if !install::succeeds("python3", &["-m", "venv", "--help"]) {
        return Err("there is no python3 with venv".to_owned());
    }
    let python = format!("{VENV}/bin/python");
    if !Path::new(&python).exists() {
        done(
            Command::new("python3").args(["-m", "venv", VENV]),
            "python3 makes no venv",
        )?;
        done(
            Command::new(&python).args(["-m", "pip", "install", "--quiet", "Faker"]),
            "pip cannot install Faker",
        )?;
    }
    let out = File::create(LABELLED)
        .map_err(|error| format!("`{LABELLED}` cannot be written: {error}"))?;
    let (seed, per_kind) = (request.seed.to_string(), request.per_kind.to_string());
    done(
        Command::new(&python)
            .args(["benches/detectors/make.py", &seed, &per_kind])
            .stdout(Stdio::from(out)),
        "the values cannot be made",
    )
}

fn done(command: &mut Command, otherwise: &str) -> Result<(), String> {
    println!("running: {command:?}");
    let status = command
        .status()
        .map_err(|error| format!("{otherwise}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_numbers() {
        let parsed = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&args)
        };
        assert_eq!(
            parsed("--seed 3 --per-kind 10").unwrap(),
            Request {
                seed: 3,
                per_kind: 10
            }
        );
        assert!(parsed("--seed x").unwrap_err().contains("--seed"));
        assert!(parsed("--fast").unwrap_err().contains("--fast"));
    }
}
