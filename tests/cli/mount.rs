//! Mounting snapshots with the kernel's help, where there is any.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::project::{Project, skip};

/// A mount that is being served.
struct Mounted {
    child: Child,
    folder: PathBuf,
}

impl Mounted {
    /// Mounts, or returns `None` if the system does not let this process mount.
    fn new(project: &Project, args: &[&str]) -> Option<Self> {
        use std::io::{BufRead as _, BufReader};
        if !Path::new("/dev/fuse").exists() {
            skip("there is no /dev/fuse");
            return None;
        }
        let folder = project.path("mounted");
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = project.command(&["mount"]);
        command.args(args).arg(&folder);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut said)
            .unwrap();
        if said.contains("is mounted read-only") {
            return Some(Self { child, folder });
        }
        let output = child.wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(why.contains("failed to mount on"), "{said}{why}");
        skip(&format!("mounting is not permitted here: {why}"));
        None
    }

    /// Asks the program to stop and expects that it unmounts and is content.
    fn stop(mut self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(
            std::fs::read_dir(&self.folder).unwrap().count(),
            0,
            "it is still mounted"
        );
    }
}

/// Every entry below a folder with what can be seen of it, in order.
fn seen(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let content = if meta.is_dir() {
                left.push(path);
                String::new()
            } else if meta.is_symlink() {
                std::fs::read_link(&path).unwrap().display().to_string()
            } else if meta.file_type().is_fifo() {
                "pipe".to_owned()
            } else {
                blake3::hash(&std::fs::read(&path).unwrap()).to_string()
            };
            let size = if meta.is_dir() { 0 } else { meta.len() };
            let facts = (
                meta.mode(),
                meta.uid(),
                size,
                meta.mtime(),
                meta.mtime_nsec(),
            );
            found.push(format!("{name} {facts:?} {content}"));
        }
    }
    found.sort();
    found
}

#[test]
fn a_mounted_snapshot_reads_as_the_source_did() {
    let project = Project::new();
    let source = project.path("production/config");
    // Large, sparse, hard-linked, a pipe, and names that are no text.
    let noise: Vec<u8> = (0..5_000_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 9) as u8)
        .collect();
    std::fs::write(source.join("large"), &noise).unwrap();
    std::fs::hard_link(source.join("large"), source.join("spool/linked")).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", (20 << 20) - 3).unwrap();
    drop(sparse);
    let strange = std::os::unix::ffi::OsStrExt::from_bytes(&b"\xff name"[..]);
    std::fs::write(source.join::<&std::ffi::OsStr>(strange), "x").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for number in 0..600 {
        project.write(&format!("production/config/many/{number}"), "little");
    }
    project.ok(&["backup", "prod", "config"]);
    let Some(mounted) = Mounted::new(&project, &["prod/config"]) else {
        return;
    };
    assert_eq!(seen(&mounted.folder), seen(&source));
    let large = mounted.folder.join("large");
    assert_eq!(large.metadata().unwrap().nlink(), 2);
    assert_eq!(
        large.metadata().unwrap().ino(),
        mounted
            .folder
            .join("spool/linked")
            .metadata()
            .unwrap()
            .ino()
    );
    let refused = std::fs::write(mounted.folder.join("new"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // The folder is not empty now, so nothing is mounted over it.
    let place = mounted.folder.to_str().unwrap();
    project.fails(&["mount", "prod", place], 2, &["is not empty"]);
    mounted.stop(Signal::INT);
}

#[test]
fn a_mounted_environment_shows_every_snapshot_and_the_latest() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    project.write("production/config/shop.toml", "port = 1\n");
    project.ok(&["backup", "prod"]);
    let Some(mounted) = Mounted::new(&project, &["prod"]) else {
        return;
    };
    let config = mounted.folder.join("config");
    assert_eq!(std::fs::read_dir(&config).unwrap().count(), 3);
    let latest = std::fs::read_to_string(config.join("latest/shop.toml")).unwrap();
    assert_eq!(latest, "port = 1\n");
    let mut versions: Vec<PathBuf> = std::fs::read_dir(&config)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("shop.toml"))
        .collect();
    versions.sort();
    assert_ne!(std::fs::read_to_string(&versions[0]).unwrap(), latest);
    // A database can be opened where it lies.
    let database = mounted.folder.join("shop/latest");
    let file = std::fs::read_dir(database)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let copy = project.path("copy.db");
    std::fs::copy(file.path(), &copy).unwrap();
    let check = crate::project::query(&copy, "PRAGMA integrity_check");
    assert_eq!(check, "ok");
    mounted.stop(Signal::TERM);
}

#[test]
fn mounting_asks_for_an_empty_folder_and_the_reader_key() {
    let project = Project::new();
    project.ok(&["backup", "prod", "config"]);
    let missing = project.path("missing");
    let args = ["mount", "prod", missing.to_str().unwrap()];
    project.fails(&args, 2, &["does not exist", "make it first"]);
    std::fs::create_dir(&missing).unwrap();
    std::fs::remove_file(project.path("keys/reader.key")).unwrap();
    project.fails(&args, 12, &["reader key"]);
    let args = ["mount", "nowhere", missing.to_str().unwrap()];
    project.fails(&args, 2, &["nowhere"]);
}
