//! Projects in a temporary folder.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;

use lifeboat_config::{Config, Loaded};
use lifeboat_model::{Problems, Severity};
use tempfile::TempDir;

/// A sound base with two regions.
pub(crate) const BASE: &str = r#"version = 1
project = "demo"

[keys]
writer = "file:keys/writer.key"

[region.eu-central]
url = "regions/eu-central"
location = "eu"

[region.eu-west]
url = "regions/eu-west"
location = "eu"
"#;

/// A sound production environment.
pub(crate) const PROD: &str = r#"class = "production"
region = "eu-central"
replicas = ["eu-west"]
residency = ["eu"]
schedule = "production"

[objectives]
rto = "1h"
rpo = "2h"

[source.shop]
kind = "sqlite"
path = "production/shop.db"
newest_commit = "SELECT max(at) FROM heartbeat"

[source.config]
kind = "files"
path = "production/config"
"#;

/// A sound staging environment.
pub(crate) const STAGING: &str = r#"class = "staging"
region = "eu-central"
residency = ["eu"]

[refresh]
from = "prod/shop"
rules = "masking-rules/webshop.toml"
target = "staging/shop.db"
"#;

/// A project on disk.
pub(crate) struct Project(pub(crate) TempDir);

impl Project {
    /// Writes `files`.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// The project that every rule is content with.
    pub(crate) fn sound() -> Self {
        Self::of(&[
            ("lifeboat.toml", BASE),
            ("environments/prod.toml", PROD),
            ("environments/staging.toml", STAGING),
            ("masking-rules/webshop.toml", ""),
            (
                "schedules/production.toml",
                include_str!("../../../../schedules/production.toml"),
            ),
        ])
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces one passage of a file, which must be there.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.root().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, &text.replace(from, to));
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        Config::load(self.root(), &[], &[])
    }

    /// Returns everything there is to say, sound or not.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.listed(|_| true)
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.listed(|severity| severity == Severity::Error)
    }

    fn listed(&self, wanted: impl Fn(Severity) -> bool) -> Vec<String> {
        let problems = self
            .load()
            .map_or_else(|problems| problems, |loaded| loaded.warnings);
        let root = self.root().display().to_string();
        let wanted = problems.iter().filter(|problem| wanted(problem.severity));
        wanted
            .map(|problem| problem.to_string().replace(&root, "ROOT"))
            .collect()
    }
}

/// Asserts that exactly one of `problems` begins at `place` and says `what`.
#[track_caller]
pub(crate) fn assert_one(problems: &[String], place: &str, what: &str) {
    let hits = problems
        .iter()
        .filter(|text| text.starts_with(&format!("{place}: ")) && text.contains(what))
        .count();
    assert_eq!(hits, 1, "want one {place}: {what}\nhave {problems:#?}");
}
