//! The walk's need for open files does not grow with the depth of a tree.
//!
//! Alone in its program, because the limit it sets holds for the whole of it.

use lifeboat_source_files::{FilesOptions, Walker};
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn no_depth_runs_out_of_open_files() {
    let scratch = tempfile::tempdir().unwrap();
    // Deeper than any path may be long, too.
    let depth = 1500;
    let mut at = open(scratch.path(), OFlags::RDONLY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, c"abc", Mode::RWXU).unwrap();
        mkdirat(&at, c"b", Mode::RWXU).unwrap();
        at = openat(&at, c"abc", OFlags::RDONLY, Mode::empty()).unwrap();
    }
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(128),
        ..before
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let walker = Walker::open(scratch.path(), &FilesOptions::default()).unwrap();
    let found: Vec<_> = walker.map(|found| found.unwrap().entry.path).collect();
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(found.len(), 1 + 2 * depth);
    assert!(found.is_sorted_by(|a, b| a < b));
}
