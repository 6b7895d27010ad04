//! The server's half of keeping and fetching its log: one call of a command for each segment.
//!
//! The real archiver cannot be wound back, and every tool shall do the same segments. So this does
//! what it does: in order of their names, `sh -c` with `%p` and `%f` filled in, in the data
//! directory, then `.ready` becomes `.done`. A recovery asks in the same way, and takes each segment
//! away before it asks for the next.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::bench::folder::at;

/// The hidden task under which this program plays the server.
pub(crate) const TASK: &str = "archiver";

/// Where the server marks what waits to be archived.
pub(super) const QUEUE: &str = "pg_wal/archive_status";
/// Where a recovery wants a segment.
const TARGET: &str = "pg_wal/RECOVERYXLOG";

/// Which way segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As `archive_command`: every segment that is marked as ready.
    Push,
    /// As `restore_command`: every segment that `wanted` lists.
    Fetch,
}

impl Way {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Fetch => "fetch",
        }
    }
}

/// The file in the data directory that lists which segments a recovery wants.
pub(super) const WANTED: &str = "wanted";

/// The hidden task: `archiver push|fetch COMMAND`, in a data directory.
pub(crate) fn play(args: &[String]) -> ExitCode {
    let here = Path::new(".");
    let done = match args {
        [way, command] if way == Way::Push.word() => push(here, command),
        [way, command] if way == Way::Fetch.word() => fetch(here, command),
        _ => {
            eprintln!("error: `{TASK}` is for this program's own use");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn push(data: &Path, command: &str) -> Result<(), String> {
    let queue = data.join(QUEUE);
    for name in ready(data)? {
        call(data, command, &name, &format!("pg_wal/{name}"))?;
        let ready = queue.join(format!("{name}.ready"));
        fs::rename(&ready, queue.join(format!("{name}.done")))
            .map_err(|error| at(&ready, &error))?;
    }
    Ok(())
}

/// Returns the names of what waits to be archived, oldest first.
pub(super) fn ready(data: &Path) -> Result<Vec<String>, String> {
    let queue = data.join(QUEUE);
    let entries = fs::read_dir(&queue).map_err(|error| at(&queue, &error))?;
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".ready").map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn fetch(data: &Path, command: &str) -> Result<(), String> {
    let list = data.join(WANTED);
    let list = fs::read_to_string(&list).map_err(|error| at(&list, &error))?;
    for name in list.lines() {
        call(data, command, name, TARGET)?;
        let target = data.join(TARGET);
        fs::rename(&target, data.join("pg_wal").join(name)).map_err(|error| at(&target, &error))?;
    }
    Ok(())
}

fn call(data: &Path, command: &str, name: &str, path: &str) -> Result<(), String> {
    let line = command.replace("%p", path).replace("%f", name);
    let status = Command::new("sh")
        .args(["-c", &line])
        .current_dir(data)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed: {status}")),
        Err(error) => Err(format!("failed to start `sh`: {error}")),
    }
}

/// Quotes a word for the shell, if it must be.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=%,:@+".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_directory(test: &str) -> std::path::PathBuf {
        let data = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        fs::create_dir_all(data.join(QUEUE)).unwrap();
        for name in ["03", "01", "02"] {
            fs::write(data.join("pg_wal").join(name), name).unwrap();
        }
        data
    }

    #[test]
    fn ready_segments_are_pushed_in_order_until_one_fails() {
        let data = data_directory("push");
        let queue = data.join(QUEUE);
        for name in ["03", "01", "02"] {
            fs::write(queue.join(format!("{name}.ready")), "").unwrap();
        }
        let problem = push(&data, "cat %p >> kept && test %f != 02").unwrap_err();
        assert!(problem.contains("pg_wal/02"), "{problem}");
        assert_eq!(fs::read_to_string(data.join("kept")).unwrap(), "0102");
        assert!(queue.join("01.done").exists() && queue.join("02.ready").exists());
        push(&data, "cat %p >> kept").unwrap();
        assert_eq!(
            fs::read_to_string(data.join("kept")).unwrap(),
            "010202".to_owned() + "03"
        );
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn wanted_segments_arrive_under_their_names() {
        let data = data_directory("fetch");
        fs::write(data.join(WANTED), "11\n12\n").unwrap();
        fetch(&data, "echo %f > %p").unwrap();
        assert_eq!(fs::read_to_string(data.join("pg_wal/12")).unwrap(), "12\n");
        // A command that only says that it did it is found out.
        assert!(fetch(&data, "true").is_err());
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn words_survive_the_shell() {
        for word in ["/a/b-1.2", "with space", "it's", "$HOME", ""] {
            let line = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("%p"), "%p");
    }
}
