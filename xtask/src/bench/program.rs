//! Lifeboat's own program, and what programs say of their versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder::at;

/// Returns the program that was given; without one, a release that is built now.
pub(crate) fn lifeboat(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(program) = given {
        return absolute_file(program);
    }
    let line = "build --release --locked --bin lifeboat";
    println!("running: cargo {line}");
    let status = Command::new("cargo").args(line.split(' ')).status();
    let status = status.map_err(|error| format!("failed to start `cargo`: {error}"))?;
    if !status.success() {
        return Err("lifeboat does not build".to_owned());
    }
    absolute_file(Path::new("target/release/lifeboat"))
}

/// Returns the base of a project that has one local region.
pub(crate) fn project_base(repository: &Path) -> String {
    let repository = repository.display();
    format!(
        "version = 1\nproject = \"bench\"\n\n[keys]\nwriter = \"file:keys/writer.key\"\n\
         reader = \"file:keys/reader.key\"\nauditor = \"file:keys/auditor.key\"\n\n\
         [region.home]\nurl = '{repository}'\nlocation = \"eu\"\n"
    )
}

pub(crate) fn absolute_file(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| at(path, &error))
}

/// Asks `program` for its version with `flag`.
pub(crate) fn version(program: &Path, flag: &str) -> Result<String, String> {
    let output = Command::new(program).arg(flag).output();
    let output = output.map_err(|error| at(program, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(version_in(&text).to_owned())
}

/// Takes the number out of `restic 0.14.0 compiled with …` or `bupstash-0.12.0`.
fn version_in(text: &str) -> &str {
    let from_digit = text.find(|c: char| c.is_ascii_digit());
    let rest = from_digit.map_or("?", |start| &text[start..]);
    rest.split_whitespace().next().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        assert_eq!(version_in("restic 0.14.0 compiled with go1.19.8"), "0.14.0");
        assert_eq!(version_in("bupstash-0.12.0\n"), "0.12.0");
        assert_eq!(version_in(""), "?");
    }
}
