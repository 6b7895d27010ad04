//! Finds the servers and tools that the tests talk to, and installs the missing ones where it can.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something the tests run, and the Debian packages that bring it.
struct Tool {
    name: &'static str,
    packages: &'static [&'static str],
    found: fn() -> bool,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "PostgreSQL's server programs (initdb)",
        packages: &["postgresql", "postgresql-contrib"],
        found: || in_path("initdb") || debian_initdb(Path::new("/usr/lib/postgresql")),
    },
    Tool {
        name: "the SQLite shell (sqlite3)",
        packages: &["sqlite3"],
        found: || in_path("sqlite3"),
    },
    Tool {
        name: "the helper that mounts for users (fusermount3)",
        packages: &["fuse3"],
        // Root mounts without help.
        found: || is_root() || in_path("fusermount3"),
    },
];

/// Makes sure that everything is there, or says what is not.
///
/// Only with `REQUIRE_SERVERS=1` a tool that cannot be had is a failure: without it the tests that
/// need the tool skip, and say so.
pub(crate) fn servers() -> Result<(), String> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.found)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("\n==> install: looking for what the tests need");
    for tool in &missing {
        println!("missing: {}", tool.name);
    }
    let packages = missing.iter().flat_map(|tool| tool.packages).copied();
    let packages: Vec<&str> = packages.collect();
    let Err(problem) = debian_packages(&packages) else {
        return recheck(&missing);
    };
    if is_required("REQUIRE_SERVERS") {
        return Err(format!(
            "{problem}\nREQUIRE_SERVERS=1 is set, so the tests cannot go without"
        ));
    }
    eprintln!("warning: {problem}\ngoing on; tests that need what is missing will be skipped");
    Ok(())
}

/// Looks again after an installation that claims to have worked.
fn recheck(installed: &[&Tool]) -> Result<(), String> {
    match installed.iter().find(|tool| !(tool.found)()) {
        None => Ok(()),
        Some(tool) => Err(format!(
            "`apt-get` installed {}, but {} is still not found",
            tool.packages.join(" "),
            tool.name
        )),
    }
}

/// Installs Debian packages, if this is a system and a user that can.
pub(crate) fn debian_packages(packages: &[&str]) -> Result<(), String> {
    if !in_path("apt-get") {
        return Err(advice(packages));
    }
    let sudo: &[&str] = if is_root() {
        &[]
    } else if succeeds("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        return Err(format!(
            "installing needs root, and `sudo -n` does not work here; run:\n    \
             sudo apt-get install --yes {}",
            packages.join(" ")
        ));
    };
    apt_get(sudo, &["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend_from_slice(packages);
    apt_get(sudo, &args)
}

/// Runs apt-get without questions, printing the command first.
fn apt_get(sudo: &[&str], args: &[&str]) -> Result<(), String> {
    let mut words = sudo.to_vec();
    // Through `env`, because sudo drops variables that it is not told about.
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend_from_slice(args);
    let line = words.join(" ");
    println!("running: {line}");
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("failed to start `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed: {status}"))
    }
}

/// Says what to do on a system without apt-get.
fn advice(packages: &[&str]) -> String {
    format!(
        "this system has no `apt-get`; install what Debian calls {} with its package manager, for \
         example:\n    \
         Fedora:  sudo dnf install postgresql-server postgresql-contrib sqlite\n    \
         Arch:    sudo pacman -S postgresql sqlite\n    \
         macOS:   brew install postgresql@17 sqlite\n\
         and put PostgreSQL's folder with `initdb` into PATH",
        packages.join(", ")
    )
}

/// Reports whether one of Debian's versioned PostgreSQL folders under `root` holds `initdb`.
fn debian_initdb(root: &Path) -> bool {
    let Ok(versions) = root.read_dir() else {
        return false;
    };
    versions
        .flatten()
        .any(|version| version.path().join("bin/initdb").is_file())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program for a terminal reads its own PATH"
)]
pub(crate) fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(program));
    programs.find(|program| program.is_file())
}

fn in_path(program: &str) -> bool {
    find_in_path(program).is_some()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the switches are documented as variables"
)]
pub(crate) fn is_required(switch: &str) -> bool {
    std::env::var_os(switch).is_some_and(|value| value == "1")
}

pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs a program of the registry for the user; `options` are the crate and what goes with it.
pub(crate) fn cargo_install(options: &[&str]) -> Result<(), String> {
    let line = format!("cargo install --locked {}", options.join(" "));
    println!("running: {line}");
    let status = Command::new("cargo")
        .args(line.split(' ').skip(1))
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("failed to start `cargo`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed: {status}"))
    }
}

pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_exist_is_missing() {
        assert!(in_path("cargo"), "these tests run under cargo");
        assert!(!in_path("no-such-program-anywhere"));
        assert!(!debian_initdb(Path::new("/no/such/folder")));
    }

    #[test]
    fn advice_names_every_missing_package() {
        let text = advice(&["postgresql", "sqlite3"]);
        assert!(text.contains("postgresql, sqlite3"), "{text}");
    }
}
