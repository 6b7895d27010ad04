//! Include and exclude patterns, compiled once and asked for every entry.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use lifeboat_model::EntryPath;

use crate::error::{FilesError, PatternFault};

/// A compiled list of patterns.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    any: GlobSet,
    folders: GlobSet,
}

impl Patterns {
    /// Compiles `patterns`; `list` names them in errors.
    pub(crate) fn compile(list: &'static str, patterns: &[String]) -> Result<Self, FilesError> {
        let mut any = GlobSetBuilder::new();
        let mut folders = GlobSetBuilder::new();
        for pattern in patterns {
            let bad = |source| FilesError::BadPattern {
                list,
                pattern: pattern.clone(),
                source,
            };
            let glob = compile_one(pattern).map_err(bad)?;
            if pattern.ends_with('/') {
                folders.add(glob);
            } else {
                any.add(glob);
            }
        }
        let build = |builder: GlobSetBuilder| {
            builder.build().map_err(|error| FilesError::BadPattern {
                list,
                pattern: patterns.join(" "),
                source: PatternFault::Syntax(error.kind().clone()),
            })
        };
        Ok(Self {
            any: build(any)?,
            folders: build(folders)?,
        })
    }

    /// Reports whether the list holds no pattern.
    pub(crate) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.folders.is_empty()
    }

    /// Reports whether a pattern matches the entry itself; folders above it are the caller's.
    pub(crate) fn matches(&self, path: &EntryPath, is_folder: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        self.any.is_match(path) || (is_folder && self.folders.is_match(path))
    }
}

fn compile_one(pattern: &str) -> Result<Glob, PatternFault> {
    let trimmed = pattern.strip_suffix('/').unwrap_or(pattern);
    let anchored = trimmed.strip_prefix('/');
    let body = anchored.unwrap_or(trimmed);
    if body.is_empty() {
        return Err(PatternFault::Empty);
    }
    let whole = if anchored.is_some() || body.contains('/') {
        body.to_owned()
    } else {
        format!("**/{body}")
    };
    GlobBuilder::new(&whole)
        .literal_separator(true)
        .build()
        .map_err(|error| PatternFault::Syntax(error.kind().clone()))
}

/// Picks entries of a snapshot by globs, in the syntax that backups use.
#[derive(Debug, Clone)]
pub struct PathFilter(Patterns);

impl PathFilter {
    /// Compiles the globs; none at all picks everything.
    ///
    /// # Errors
    /// Fails on a pattern that is not a glob.
    pub fn new(globs: &[String]) -> Result<Self, FilesError> {
        Ok(Self(Patterns::compile("path", globs)?))
    }

    /// Reports whether everything is picked.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Reports whether the entry, or a folder it lies in, is picked; `is_folder` says whether the
    /// entry itself is one.
    pub fn is_match(&self, path: &EntryPath, is_folder: bool) -> bool {
        let lineage = std::iter::successors(Some(path.clone()), EntryPath::parent);
        self.0.is_empty()
            || lineage
                .enumerate()
                .any(|(n, at)| self.0.matches(&at, is_folder || n > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, is_folder: bool) -> bool {
        Patterns::compile("exclude", &[pattern.to_owned()])
            .unwrap()
            .matches(&EntryPath::new(path).unwrap(), is_folder)
    }

    #[test]
    fn patterns_mean_what_the_options_say() {
        let file = |pattern, path| matches(pattern, path, false);
        assert!(file("*.log", "a.log"));
        assert!(file("*.log", "x/y/a.log"));
        assert!(!file("*.log", "a.log/x"));
        assert!(file("/a", "a"));
        assert!(!file("/a", "b/a"));
        assert!(file("x/*", "x/a"));
        assert!(!file("x/*", "x/y/a"));
        assert!(!file("x/*", "z/x/a"));
        assert!(file("x/**", "x/y/a"));
        assert!(!file("x/**", "x"));
        assert!(file("**/y/*.txt", "x/y/a.txt"));
        assert!(file("{a,b}[0-9]", "q/b7"));
        assert!(!matches("cache/", "cache", false));
        assert!(matches("cache/", "x/cache", true));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Patterns::compile("include", &["ok".into(), "a[".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the include pattern `a[` cannot be understood"
        );
        assert!(Patterns::compile("include", &["/".into()]).is_err());
        assert!(Patterns::compile("include", &["".into()]).is_err());
    }

    #[test]
    fn names_that_are_not_utf8_match_too() {
        let patterns = Patterns::compile("exclude", &["*.log".into()]).unwrap();
        assert!(patterns.matches(&EntryPath::new(*b"d/\xff.log").unwrap(), false));
    }
}
