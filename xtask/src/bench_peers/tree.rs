//! The tree that is backed up: copied or made once, changed and changed back in every round.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::bench::folder::{at, copy, read_all, walk};

/// Folders of the system that the default tree is made of.
const COPIED: &[&str] = &["/usr/share", "/usr/bin", "/usr/lib"];
/// Of these, files are taken in order of their names until there are so many, or so many bytes.
const FILES_MAX: usize = 54_000;
const BYTES_MAX: u64 = 1_700_000_000;
/// Longer ones are left out: the large files are made, so that they are the same everywhere.
const COPIED_LEN_MAX: u64 = 32 << 20;
const LARGE_LEN: u64 = 200 << 20;

/// One file in so many changes …
const CHANGED_EVERY: usize = 50;
/// … by so many bytes in its middle, and a large one by as many in each so many.
const CHANGE_LEN: u64 = 64;
const CHANGE_DISTANCE: u64 = 16 << 20;

/// A tree whose files may be changed: never the user's own.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Every regular file, sorted, with its length.
    files: Vec<(PathBuf, u64)>,
}

/// What [`Tree::flip`] changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) files: usize,
    pub(super) bytes_of_files: u64,
}

impl Tree {
    /// Takes the tree in `root`, made before.
    pub(super) fn open(root: PathBuf) -> Result<Self, String> {
        let mut files = Vec::new();
        walk(&root, &mut |path, len| files.push((path.to_owned(), len)))?;
        files.sort();
        Ok(Self { root, files })
    }

    /// Copies `from` to `root`, unless an earlier run did.
    pub(super) fn copy_of(from: &Path, root: PathBuf) -> Result<Self, String> {
        finished(&root, |unfinished| copy(from, unfinished))?;
        Self::open(root)
    }

    /// Makes the default tree in `root`, unless an earlier run did.
    pub(super) fn standard(root: PathBuf) -> Result<Self, String> {
        finished(&root, |unfinished| {
            fs::create_dir_all(unfinished).map_err(|error| at(unfinished, &error))?;
            copy_system(unfinished)?;
            for (number, make) in (0..).zip(LARGE) {
                let path = unfinished.join(format!("large-{number}"));
                make_file(&path, *make).map_err(|error| at(&path, &error))?;
            }
            Ok(())
        })?;
        Self::open(root)
    }

    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, len)| len).sum()
    }

    /// Changes one file in fifty by a few bytes; done again, it changes them back.
    pub(super) fn flip(&self) -> Result<Change, String> {
        let mut change = Change::default();
        for (path, len) in self.files.iter().step_by(CHANGED_EVERY) {
            // A file that may not be written is left alone, in every round.
            let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else {
                continue;
            };
            let mut offset = (len / 2) % CHANGE_DISTANCE;
            while offset < *len {
                flip_at(&mut file, offset).map_err(|error| at(path, &error))?;
                offset += CHANGE_DISTANCE;
            }
            change.files += 1;
            change.bytes_of_files += len;
        }
        Ok(change)
    }

    /// Reads every byte once, so that all tools find the tree in memory.
    pub(super) fn read_all(&self) -> Result<u64, String> {
        read_all(self.files.iter().map(|(path, _)| path.as_path()))
    }
}

/// Turns over all bits of a few bytes.
fn flip_at(file: &mut File, offset: u64) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    std::io::Read::take(&mut *file, CHANGE_LEN).read_to_end(&mut bytes)?;
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(&bytes)
}

/// Lets `make` fill a folder beside `root` and gives it its name at the end.
fn finished(root: &Path, make: impl Fn(&Path) -> Result<(), String>) -> Result<(), String> {
    if root.is_dir() {
        return Ok(());
    }
    println!("making `{}`, once", root.display());
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|error| at(&unfinished, &error))?;
    }
    make(&unfinished)?;
    fs::rename(&unfinished, root).map_err(|error| at(root, &error))
}

/// Copies regular files of the system, smaller ones only, up to the limits.
fn copy_system(to: &Path) -> Result<(), String> {
    let (mut count, mut bytes) = (0, 0);
    for folder in COPIED {
        let mut files = Vec::new();
        walk(Path::new(folder), &mut |path, len| {
            if len <= COPIED_LEN_MAX {
                files.push((path.to_owned(), len));
            }
        })?;
        files.sort();
        for (path, len) in files {
            if count == FILES_MAX || bytes + len > BYTES_MAX {
                return Ok(());
            }
            let inner = path
                .strip_prefix("/")
                .expect("the folders above are absolute");
            let target = to.join(inner);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(|error| at(parent, &error))?;
            }
            // What only root may read is not part of the tree.
            if fs::copy(&path, &target).is_ok() {
                count += 1;
                bytes += len;
            }
        }
    }
    Ok(())
}

/// Fills a block of a large file; the numbers come from the generator that is passed on.
type Fill = fn(&mut Numbers, &mut [u8]);

/// The large files: noise, words, pages of a database, and noise that repeats itself.
const LARGE: &[Fill] = &[
    |numbers, block| {
        block
            .iter_mut()
            .for_each(|byte| *byte = numbers.next() as u8);
    },
    fill_words,
    fill_pages,
    |numbers, block| {
        let mut same = Numbers(numbers.next() % 16);
        block.iter_mut().for_each(|byte| *byte = same.next() as u8);
    },
];

const WORDS: [&str; 16] = [
    "backup ",
    "the ",
    "of ",
    "order ",
    "customer ",
    "region ",
    "and ",
    "42 ",
    "2026-11-21 ",
    "error ",
    "GET ",
    "/index.html ",
    "200 ",
    "a ",
    "restore ",
    "snapshot\n",
];

fn fill_words(numbers: &mut Numbers, block: &mut [u8]) {
    let mut rest = block;
    while !rest.is_empty() {
        let word = WORDS[(numbers.next() % 16) as usize].as_bytes();
        let len = word.len().min(rest.len());
        rest[..len].copy_from_slice(&word[..len]);
        rest = &mut rest[len..];
    }
}

/// Pages whose rows are half words, half numbers, with a free end.
fn fill_pages(numbers: &mut Numbers, block: &mut [u8]) {
    for page in block.chunks_mut(4096) {
        let (rows, free) = page.split_at_mut(page.len() * 3 / 4);
        free.fill(0);
        for row in rows.chunks_mut(64) {
            let (number, text) = row.split_at_mut(row.len() / 2);
            number
                .iter_mut()
                .for_each(|byte| *byte = numbers.next() as u8);
            fill_words(numbers, text);
        }
    }
}

fn make_file(path: &Path, fill: Fill) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut numbers = Numbers(1);
    let mut block = vec![0; 1 << 20];
    for _ in 0..LARGE_LEN / block.len() as u64 {
        fill(&mut numbers, &mut block);
        out.write_all(&block)?;
    }
    out.flush()
}

/// splitmix64 (Steele, Lea and Flood 2014): the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_done_twice_is_undone() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        for number in 0..60 {
            fs::write(root.join(format!("{number:02}")), vec![number; 100]).unwrap();
        }
        let tree = Tree::open(root.clone()).unwrap();
        assert_eq!((tree.file_count(), tree.bytes()), (60, 6000));
        let change = tree.flip().unwrap();
        assert_eq!((change.files, change.bytes_of_files), (2, 200));
        let changed = fs::read(root.join("50")).unwrap();
        assert_eq!(changed.len(), 100);
        assert!(changed != vec![50; 100]);
        assert_eq!(tree.flip().unwrap(), change);
        assert_eq!(fs::read(root.join("50")).unwrap(), vec![50; 100]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn large_files_are_the_same_everywhere() {
        let mut numbers = Numbers(0);
        // The first numbers of the published generator for the seed 0.
        assert_eq!(numbers.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(numbers.next(), 0x6e78_9e6a_a1b9_65f4);
        let mut block = [0; 100];
        for fill in LARGE {
            fill(&mut numbers, &mut block);
            assert!(block.iter().any(|byte| *byte != 0));
        }
    }
}
