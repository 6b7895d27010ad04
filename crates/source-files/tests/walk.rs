//! A walk yields what is there, in order, and follows no link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use lifeboat_model::{Diagnose as _, EntryKind, EntryPath, ErrorKind};
use lifeboat_source_files::{FilesError, FilesOptions, Found, Piece, Stability, Walker};
use proptest::prelude::*;

fn walk(root: &Path, options: &FilesOptions) -> Vec<Found> {
    Walker::open(root, options)
        .unwrap()
        .map(|found| found.unwrap())
        .collect()
}

fn paths(root: &Path, options: &FilesOptions) -> Vec<String> {
    walk(root, options)
        .iter()
        .map(|found| found.entry.path.to_string())
        .collect()
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read_all(found: &Found) -> Vec<u8> {
    let mut reader = found.open().unwrap();
    let (mut content, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        match reader.read(&mut buffer).unwrap() {
            Piece::Data(len) => content.extend_from_slice(&buffer[..len]),
            Piece::Hole(len) => content.resize(content.len() + len as usize, 0),
            Piece::End => break,
        }
    }
    assert_eq!(reader.position(), content.len() as u64);
    assert_eq!(reader.finish().unwrap(), Stability::Stable);
    content
}

fn options(include: &[&str], exclude: &[&str]) -> FilesOptions {
    let owned = |list: &[&str]| list.iter().map(|&pattern| pattern.to_owned()).collect();
    FilesOptions {
        include: owned(include),
        exclude: owned(exclude),
        ..FilesOptions::default()
    }
}

#[test]
fn filters_choose_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in [
        "a/b/c.txt",
        "a/b/d.log",
        "a/cache/e.txt",
        "a.log",
        "z/cache",
        "z/y/x/w.txt",
    ] {
        write(root, path, "");
    }
    fs::create_dir(root.join("bare")).unwrap();
    let table: &[(&[&str], &[&str], &str)] = &[
        (
            &[],
            &["*.log"],
            ". a a/b a/b/c.txt a/cache a/cache/e.txt bare z z/cache z/y z/y/x z/y/x/w.txt",
        ),
        (
            &[],
            &["cache"],
            ". a a/b a/b/c.txt a/b/d.log a.log bare z z/y z/y/x z/y/x/w.txt",
        ),
        (
            &[],
            &["cache/"],
            ". a a/b a/b/c.txt a/b/d.log a.log bare z z/cache z/y z/y/x z/y/x/w.txt",
        ),
        (&[], &["a/**", "z", "/bare"], ". a a.log"),
        (&["*.log"], &[], ". a a/b a/b/d.log a.log"),
        (&["*.log"], &["/a"], ". a.log"),
        (&["/z/y"], &[], ". z z/y z/y/x z/y/x/w.txt"),
        (&["z/**/*.txt"], &[], ". z z/y z/y/x z/y/x/w.txt"),
        (&["bare", "cache"], &["*.txt"], ". a a/cache bare z z/cache"),
        (&["nothing"], &[], "."),
        (&["*"], &["*"], "."),
    ];
    for (include, exclude, expected) in table {
        let found = paths(root, &options(include, exclude)).join(" ");
        assert_eq!(found, *expected, "include {include:?} exclude {exclude:?}");
    }
}

#[test]
fn an_excluded_folder_is_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "secret/a", "");
    let mut walker = Walker::open(folder.path(), &options(&[], &["secret"])).unwrap();
    assert!(walker.next().unwrap().unwrap().entry.path.is_root());
    assert!(walker.next().is_none());
}

#[test]
fn what_cannot_be_walked_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", "");
    let open = |path: &str, options: &FilesOptions| {
        Walker::open(&folder.path().join(path), options).unwrap_err()
    };
    let everything = FilesOptions::default();
    assert_eq!(open("absent", &everything).kind(), ErrorKind::NotFound);
    let error = open("file", &everything);
    assert!(matches!(error, FilesError::NotAFolder { .. }));
    assert!(error.to_string().contains("file"));
    let error = open(".", &options(&["ok", "{a"], &[]));
    assert_eq!(
        error.to_string(),
        "the include pattern `{a` cannot be understood"
    );
    assert!(error.hint().is_some());
}

#[test]
fn the_root_may_be_reached_through_a_link_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "real/a", "1");
    symlink("real", folder.path().join("link")).unwrap();
    symlink("/etc", folder.path().join("real/out")).unwrap();
    let root = folder.path().join("link");
    assert_eq!(paths(&root, &FilesOptions::default()), [".", "a", "out"]);
}

#[test]
fn a_folder_swapped_for_a_link_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    write(&root, "a/file", "inside");
    write(folder.path(), "outside/file", "outside");
    let found = walk(&root, &FilesOptions::default());
    let file = found
        .iter()
        .find(|f| f.entry.path.to_string() == "a/file")
        .unwrap();
    assert_eq!(read_all(file), b"inside");
    fs::rename(root.join("a"), root.join("b")).unwrap();
    symlink(folder.path().join("outside"), root.join("a")).unwrap();
    assert_eq!(file.open().unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn a_vanished_entry_is_told_from_an_unreadable_one() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        write(folder.path(), name, "1");
    }
    let found = walk(folder.path(), &FilesOptions::default());
    fs::remove_file(folder.path().join("a")).unwrap();
    fs::remove_file(folder.path().join("b")).unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    assert!(found[1].open().unwrap_err().is_vanished());
    assert!(found[2].open().unwrap_err().is_vanished());
    fs::remove_file(folder.path().join("c")).unwrap();
    symlink("/etc/passwd", folder.path().join("c")).unwrap();
    let problem = found[3].open().unwrap_err();
    assert!(!problem.is_vanished());
    assert_eq!(problem.to_string(), "failed to open `c`");
}

#[test]
fn what_vanishes_during_the_walk_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b/x", "c"] {
        write(folder.path(), name, "1");
    }
    let mut walker = Walker::open(folder.path(), &FilesOptions::default()).unwrap();
    walker.next().unwrap().unwrap();
    fs::remove_dir_all(folder.path().join("b")).unwrap();
    let rest: Vec<_> = walker
        .map(|found| found.unwrap().entry.path.to_string())
        .collect();
    assert_eq!(rest, ["a", "c"]);
}

#[test]
fn later_names_of_a_file_are_links_to_the_first() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "m/first", "1");
    fs::hard_link(folder.path().join("m/first"), folder.path().join("z")).unwrap();
    fs::hard_link(folder.path().join("m/first"), folder.path().join("a")).unwrap();
    let kinds = |options: &FilesOptions| -> Vec<_> {
        let found = walk(folder.path(), options);
        found
            .into_iter()
            .map(|f| (f.entry.path.to_string(), f.entry.kind))
            .collect()
    };
    let link = |first: &str| EntryKind::Hardlink {
        first: EntryPath::new(first).unwrap(),
    };
    let all = kinds(&FilesOptions::default());
    assert_eq!(all[1], ("a".to_owned(), EntryKind::File { size: 1 }));
    assert_eq!(
        all[3..],
        [
            ("m/first".to_owned(), link("a")),
            ("z".to_owned(), link("a"))
        ]
    );
    // A name that is left out is nobody's first.
    let some = kinds(&options(&[], &["a"]));
    assert_eq!(some[2], ("m/first".to_owned(), EntryKind::File { size: 1 }));
    assert_eq!(some[3], ("z".to_owned(), link("m/first")));
}

#[test]
fn a_forgotten_first_name_leaves_its_place_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a", "1");
    fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
    let mut walker = Walker::open(folder.path(), &FilesOptions::default()).unwrap();
    let first = walker.nth(1).unwrap().unwrap();
    fs::remove_file(folder.path().join("a")).unwrap();
    assert!(first.open().unwrap_err().is_vanished());
    walker.forget_link(&first);
    let second = walker.next().unwrap().unwrap();
    assert_eq!(read_all(&second), b"1");
}

#[test]
fn a_walk_ahead_yields_what_a_walk_yields() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1500 {
        write(folder.path(), &format!("{}/{number}", number % 7), "");
    }
    fs::hard_link(folder.path().join("0/0"), folder.path().join("6/link")).unwrap();
    let ahead = Walker::open(folder.path(), &FilesOptions::default()).unwrap();
    let ahead: Vec<_> = ahead.ahead().map(|found| found.unwrap().entry).collect();
    let walked = walk(folder.path(), &FilesOptions::default());
    let walked: Vec<_> = walked.into_iter().map(|found| found.entry).collect();
    assert_eq!(ahead.len(), 1 + 7 + 1501);
    assert_eq!(ahead, walked);
}

#[test]
fn a_first_name_is_forgotten_in_time_for_names_that_wait_already() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a", "1");
    for name in ["b", "c"] {
        fs::hard_link(folder.path().join("a"), folder.path().join(name)).unwrap();
    }
    let walker = Walker::open(folder.path(), &FilesOptions::default()).unwrap();
    let mut walker = walker.ahead();
    let first = walker.nth(1).unwrap().unwrap();
    walker.forget_link(&first);
    let kinds: Vec<_> = walker.map(|found| found.unwrap().entry.kind).collect();
    let first = EntryPath::new("b").unwrap();
    assert_eq!(
        kinds,
        [EntryKind::File { size: 1 }, EntryKind::Hardlink { first }]
    );
}

#[test]
fn a_file_opened_later_than_it_was_seen_says_how_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a", "1");
    let found = walk(folder.path(), &FilesOptions::default()).pop().unwrap();
    let old = fs::File::open(folder.path().join("a")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    let now = found.open().unwrap().metadata();
    assert_eq!(now.mtime_ns, 0);
    assert_ne!(found.entry.metadata.mtime_ns, 0);
    assert_eq!(now.inode, found.entry.metadata.inode);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    for (now, expected) in [("123456", 4), ("12", 2), ("abcd", 4)] {
        fs::write(&file, "1234").unwrap();
        let old = fs::File::open(&file).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        let found = walk(folder.path(), &FilesOptions::default()).pop().unwrap();
        let mut reader = found.open().unwrap();
        assert_eq!(reader.size_at_open(), 4);
        fs::write(&file, now).unwrap();
        let mut buffer = [0; 64];
        while reader.read(&mut buffer).unwrap() != Piece::End {}
        assert_eq!(reader.position(), expected, "{now}");
        assert_eq!(
            reader.finish().unwrap(),
            Stability::ChangedWhileReading,
            "{now}"
        );
    }
}

#[test]
fn a_sparse_file_is_read_as_holes_and_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("a")).unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 512 << 20).unwrap();
    let found = walk(folder.path(), &FilesOptions::default()).pop().unwrap();
    let mut reader = found.open().unwrap();
    let (mut holes, mut data, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer).unwrap() {
            Piece::Data(len) => data += len as u64,
            Piece::Hole(len) => holes += len,
            Piece::End => break,
        }
    }
    assert_eq!(holes + data, 1 << 30);
    assert!((4..=1 << 20).contains(&data), "{data} bytes were read");
}

#[test]
fn one_file_system_lists_mount_points_without_entering_them() {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &str| fs::metadata(path).map(|found| found.dev()).ok();
    let (Ok(folder), true) = (
        tempfile::tempdir_in("/dev/shm"),
        device("/dev") != device("/dev/shm"),
    ) else {
        return;
    };
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let inside = format!("shm/{name}");
    for (one_file_system, entered) in [(false, true), (true, false)] {
        let options = FilesOptions {
            include: vec!["/shm".to_owned()],
            one_file_system,
            ..FilesOptions::default()
        };
        let found = Walker::open(Path::new("/dev"), &options).unwrap();
        let found: Vec<_> = found
            .flatten()
            .map(|found| found.entry.path.to_string())
            .collect();
        assert!(found.contains(&"shm".to_owned()));
        assert_eq!(found.contains(&inside), entered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_sequence_is_strictly_increasing(
        names in prop::collection::vec("[a-c!.~é]{1,3}(/[a-c!.~é]{1,3}){0,3}", 1..24)
    ) {
        let folder = tempfile::tempdir().unwrap();
        for name in &names {
            if EntryPath::new(name.as_str()).is_ok() {
                // A shorter name may already be a file; then this one cannot be.
                let path = folder.path().join(name);
                if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                    fs::write(path, "").unwrap();
                }
            }
        }
        let found = walk(folder.path(), &FilesOptions::default());
        prop_assert!(found.is_sorted_by(|a, b| a.entry.path < b.entry.path));
        let ancestors_first = found.iter().all(|f| match f.entry.path.parent() {
            Some(parent) => found.iter().any(|other| other.entry.path == parent),
            None => true,
        });
        prop_assert!(ancestors_first);
    }
}
