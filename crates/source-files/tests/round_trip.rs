//! What is read and written again is the same; what would escape is refused.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use lifeboat_model::{Diagnose as _, Entry, EntryKind, EntryPath, ErrorKind, Metadata};
use lifeboat_source_files::{FilesOptions, Found, Piece, TreeReport, TreeWriter, Walker};

fn walk(root: &Path) -> Vec<Found> {
    let walker = Walker::open(root, &FilesOptions::default()).unwrap();
    walker.map(|found| found.unwrap()).collect()
}

/// Everything about an entry that a restore must give back.
fn restorable(found: &[Found]) -> Vec<Entry> {
    let entries = found.iter().map(|found| found.entry.clone());
    entries
        .filter(|entry| entry.kind != EntryKind::Socket)
        .map(|mut entry| {
            entry.metadata.ctime_ns = 0;
            entry.metadata.inode = 0;
            entry
        })
        .collect()
}

fn copy(from: &Path, to: &Path) -> TreeReport {
    let writer = TreeWriter::create(to).unwrap();
    for found in walk(from) {
        if !matches!(found.entry.kind, EntryKind::File { .. }) {
            writer.add(&found.entry).unwrap();
            continue;
        }
        let slot = writer.create_file(&found.entry).unwrap();
        let mut reader = found.open().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let at = reader.position();
            match reader.read(&mut buffer).unwrap() {
                Piece::Data(len) => slot.write_at(at, &buffer[..len]).unwrap(),
                Piece::Hole(_) => {}
                Piece::End => break,
            }
        }
        slot.finish(&found.entry).unwrap();
    }
    writer.finish().unwrap()
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    let metadata = Metadata {
        mode: 0o755,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        ..Metadata::default()
    };
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind,
        metadata,
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn build_everything(root: &Path) {
    fs::create_dir_all(root.join("folder/deep")).unwrap();
    fs::create_dir(root.join("bare")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("grüße-日本"), "hello").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff utf8\n")), "bytes").unwrap();
    fs::write(root.join("folder/big"), vec![7; 300_000]).unwrap();
    fs::hard_link(root.join("folder/big"), root.join("folder/deep/again")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink(OsStr::from_bytes(b"\xfe"), root.join("folder/odd")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    fs::write(root.join("program"), "#!").unwrap();
    set_mode(&root.join("program"), 0o6755);
    fs::write(root.join("locked"), "nobody may").unwrap();
    set_mode(&root.join("locked"), 0o000);
    set_mode(&root.join("bare"), 0o1777);
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"middle", 700 << 20).unwrap();
    for (name, time) in [
        ("empty", UNIX_EPOCH + Duration::new(1, 1)),
        ("program", UNIX_EPOCH - Duration::new(5, 250)),
    ] {
        File::open(root.join(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    // Times of what lies inside others come last.
    let ago = rustix::fs::Timespec {
        tv_sec: 1_000_000,
        tv_nsec: 123_456_789,
    };
    let times = rustix::fs::Timestamps {
        last_access: ago,
        last_modification: ago,
    };
    let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    for name in [
        "dangling",
        "pipe",
        "folder/deep",
        "folder",
        "bare",
        "locked",
    ] {
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, nofollow).unwrap();
    }
}

#[test]
fn a_tree_with_everything_in_it_survives() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("new/to"));
    build_everything(&from);
    let report = copy(&from, &to);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(restorable(&walk(&from)), restorable(&walk(&to)));
    for path in [
        "empty",
        "grüße-日本",
        "folder/big",
        "folder/deep/again",
        "locked",
        "program",
    ] {
        assert_eq!(
            fs::read(from.join(path)).unwrap(),
            fs::read(to.join(path)).unwrap(),
            "{path}"
        );
    }
    assert_eq!(report.skipped, [EntryPath::new("socket").unwrap()]);
    let counts = (
        report.directories,
        report.files,
        report.symlinks,
        report.hardlinks,
        report.specials,
    );
    assert_eq!(counts, (3, 7, 3, 1, 1));
    assert_eq!(
        (report.owners_not_restored, report.xattrs_not_restored),
        (0, 0)
    );

    let sparse = to.join("sparse").metadata().unwrap();
    assert_eq!(sparse.size(), 1 << 30);
    assert!(sparse.blocks() * 512 < 4 << 20, "the holes are holes again");
    let mut middle = [0; 6];
    File::open(to.join("sparse"))
        .unwrap()
        .read_exact_at(&mut middle, 700 << 20)
        .unwrap();
    assert_eq!(&middle, b"middle");
}

#[test]
fn extended_attributes_survive_where_there_are_any() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("a"), "").unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    match set(&from.join("a"), "user.colour", b"blue") {
        Err(rustix::io::Errno::NOTSUP) => return,
        answer => answer.unwrap(),
    }
    set(&from.join("a"), "user.a", b"").unwrap();
    set(&from, "user.root", b"\0\xff").unwrap();
    copy(&from, &to);
    let found = walk(&to);
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    assert_eq!(
        found[0].entry.metadata.xattrs,
        [pair("user.root", b"\0\xff")]
    );
    let both = [pair("user.a", b""), pair("user.colour", b"blue")];
    assert_eq!(found[1].entry.metadata.xattrs, both);
    let without = FilesOptions {
        xattrs: false,
        ..FilesOptions::default()
    };
    let plain = Walker::open(&to, &without).unwrap();
    for (later, earlier) in plain.map(|later| later.unwrap()).zip(found) {
        assert!(later.entry.metadata.xattrs.is_empty());
        assert_eq!(later.xattrs().unwrap(), earlier.entry.metadata.xattrs);
    }
}

#[test]
fn a_restore_goes_into_an_empty_folder_only() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("precious"), "").unwrap();
    let error = TreeWriter::create(scratch.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(
        error
            .to_string()
            .contains(&scratch.path().display().to_string())
    );
    assert!(error.hint().unwrap().contains("empty folder"));
    assert!(TreeWriter::create(&scratch.path().join("precious")).is_err());
    fs::create_dir(scratch.path().join("empty")).unwrap();
    assert!(TreeWriter::create(&scratch.path().join("empty")).is_ok());
}

#[test]
fn no_order_of_entries_escapes_the_target() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(outside.join("victim"), "safe").unwrap();
    let target = outside.as_os_str().as_bytes().to_vec();
    let link = |path| {
        entry(
            path,
            EntryKind::Symlink {
                target: target.clone(),
            },
        )
    };
    let writer = TreeWriter::create(&scratch.path().join("to")).unwrap();
    writer.add(&link("a")).unwrap();

    let below = writer
        .create_file(&entry("a/b", EntryKind::File { size: 0 }))
        .unwrap_err();
    assert_eq!(below.kind(), ErrorKind::Refused);
    let deeper = entry("a/inner/b", EntryKind::File { size: 0 });
    assert_eq!(
        writer.create_file(&deeper).unwrap_err().kind(),
        ErrorKind::Refused
    );
    for kind in [
        EntryKind::Directory,
        EntryKind::Fifo,
        EntryKind::Symlink {
            target: b"x".to_vec(),
        },
    ] {
        assert!(writer.add(&entry("a/c", kind.clone())).is_err(), "{kind:?}");
        assert!(
            writer.add(&entry("a/c/d", kind.clone())).is_err(),
            "{kind:?}"
        );
    }
    // The link's own name is taken, for files and for folders whose permissions are set at the end.
    assert!(
        writer
            .create_file(&entry("a", EntryKind::File { size: 0 }))
            .is_err()
    );
    assert!(writer.add(&entry("a", EntryKind::Directory)).is_err());
    assert!(writer.add(&link("a")).is_err());
    let first = EntryPath::new("a/victim").unwrap();
    writer
        .add(&entry("stolen", EntryKind::Hardlink { first }))
        .unwrap();
    writer
        .add(&entry(
            "a/stolen",
            EntryKind::Hardlink {
                first: EntryPath::new("a").unwrap(),
            },
        ))
        .unwrap();

    let report = writer.finish().unwrap();
    assert_eq!(report.problems.len(), 2);
    let mut names: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["inner", "victim"]);
    assert_eq!(fs::read_dir(outside.join("inner")).unwrap().count(), 0);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"safe");
    assert_eq!(outside.join("victim").metadata().unwrap().nlink(), 1);
}

#[test]
fn a_link_may_come_before_the_file_it_names_and_folders_last() {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("to");
    let writer = TreeWriter::create(&to).unwrap();
    let first = EntryPath::new("x/y/file").unwrap();
    writer
        .add(&entry("link", EntryKind::Hardlink { first }))
        .unwrap();
    let file = entry("x/y/file", EntryKind::File { size: 3 });
    let slot = writer.create_file(&file).unwrap();
    slot.write_at(0, b"abc").unwrap();
    slot.finish(&file).unwrap();
    writer.add(&entry("x", EntryKind::Directory)).unwrap();
    let report = writer.finish().unwrap();
    assert!(report.problems.is_empty());
    assert_eq!(fs::read(to.join("link")).unwrap(), b"abc");
    let mode = |path: &str| to.join(path).metadata().unwrap().mode() & 0o777;
    // A folder that the backup does not list stays private.
    assert_eq!((mode("x"), mode("x/y")), (0o755, 0o700));
}

#[test]
fn nothing_is_open_to_others_before_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("to");
    let writer = TreeWriter::create(&to).unwrap();
    writer.add(&entry("folder", EntryKind::Directory)).unwrap();
    let file = entry("folder/file", EntryKind::File { size: 0 });
    let slot = writer.create_file(&file).unwrap();
    let mode = |path: &str| to.join(path).metadata().unwrap().mode() & 0o777;
    assert_eq!(
        (mode("."), mode("folder"), mode("folder/file")),
        (0o700, 0o700, 0o600)
    );
    slot.finish(&file).unwrap();
    writer.finish().unwrap();
    assert_eq!((mode("folder"), mode("folder/file")), (0o755, 0o755));
}

#[test]
fn files_are_written_by_many_threads_at_any_offset() {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("to");
    let writer = TreeWriter::create(&to).unwrap();
    let file = entry("a/file", EntryKind::File { size: 40_000 });
    let slot = writer.create_file(&file).unwrap();
    std::thread::scope(|scope| {
        for part in (0..4_u8).rev() {
            let slot = &slot;
            scope.spawn(move || {
                slot.write_at(u64::from(part) * 10_000, &[part; 10_000])
                    .unwrap();
            });
        }
    });
    slot.finish(&file).unwrap();
    writer.finish().unwrap();
    let content = fs::read(to.join("a/file")).unwrap();
    let expected: Vec<u8> = (0..4).flat_map(|part| [part; 10_000]).collect();
    assert_eq!(content, expected);
}

#[test]
fn a_file_that_shrank_while_read_ends_where_its_entry_says() {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("to");
    let writer = TreeWriter::create(&to).unwrap();
    let file = entry("file", EntryKind::File { size: 2 });
    let slot = writer.create_file(&file).unwrap();
    slot.write_at(0, b"abcdef").unwrap();
    slot.finish(&file).unwrap();
    writer.finish().unwrap();
    assert_eq!(fs::read(to.join("file")).unwrap(), b"ab");
}
