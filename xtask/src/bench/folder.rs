//! Folders of files: their length, their copies, and room on the disk.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says what went wrong, and where.
pub(crate) fn at(path: &Path, error: &std::io::Error) -> String {
    format!("`{}`: {error}", path.display())
}

/// Makes the folder if there is none, and returns its full path.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(path)
        .and_then(|()| path.canonicalize())
        .map_err(|error| at(path, &error))
}

/// Copies a whole tree with everything that `cp -a` keeps.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`cp -a {}` failed: {status}", from.display())),
        Err(error) => Err(format!("failed to start `cp`: {error}")),
    }
}

/// Calls `found` with every regular file below `folder`, and its length.
pub(crate) fn walk(folder: &Path, found: &mut impl FnMut(&Path, u64)) -> Result<(), String> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| at(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| at(&folder, &error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| at(&path, &error))?;
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                let meta = entry.metadata().map_err(|error| at(&path, &error))?;
                found(&path, meta.len());
            }
        }
    }
    Ok(())
}

/// Returns the length of all files below `folder` together; 0 if there is none.
pub(crate) fn length_of(folder: &Path) -> Result<f64, String> {
    let mut total = 0;
    if folder.exists() {
        walk(folder, &mut |_, len| total += len)?;
    }
    Ok(total as f64)
}

/// Reads every byte of the files once, so that whoever comes next finds them in memory.
pub(crate) fn read_all<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<u64, String> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    for path in files {
        let mut file = File::open(path).map_err(|error| at(path, &error))?;
        loop {
            match file.read(&mut buffer).map_err(|error| at(path, &error))? {
                0 => break,
                len => total += len as u64,
            }
        }
    }
    Ok(total)
}

/// Deletes the folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(folder, &error)),
        _ => Ok(()),
    }
}

/// Returns how many bytes the disk that `folder` lies on can still take.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, String> {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(folder)
        .output()
        .map_err(|error| format!("failed to start `df`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text
        .lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok());
    number.ok_or_else(|| format!("`df {}` names no number", folder.display()))
}
