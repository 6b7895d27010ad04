//! The tools that are measured: where to get each, and how it does the same work.
//!
//! Every tool runs with its defaults, encrypted where it can, its caches in a home of its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::account::Account;
use crate::bench::measure::Run;
use crate::bench::program;
use crate::install;

/// One of the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Lifeboat,
    Restic,
    Rustic,
    Borg,
    Bupstash,
    Conserve,
}

/// Which of the three backups of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    First,
    Unchanged,
    Changed,
}

impl Step {
    pub(super) const ALL: [Step; 3] = [Step::First, Step::Unchanged, Step::Changed];

    /// What repositories that name their snapshots call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::First => "first",
            Step::Unchanged => "unchanged",
            Step::Changed => "changed",
        }
    }
}

impl Tool {
    pub(super) const ALL: [Tool; 6] = [
        Tool::Lifeboat,
        Tool::Restic,
        Tool::Rustic,
        Tool::Borg,
        Tool::Bupstash,
        Tool::Conserve,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Lifeboat => "lifeboat",
            Tool::Restic => "restic",
            Tool::Rustic => "rustic",
            Tool::Borg => "borg",
            Tool::Bupstash => "bupstash",
            Tool::Conserve => "conserve",
        }
    }

    /// What the tables say beside the name.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Tool::Lifeboat => "one region, zstd 2, encrypted",
            Tool::Restic | Tool::Rustic => "repository version 2, default compression, encrypted",
            Tool::Borg => "repokey-blake2, zstd 3",
            Tool::Bupstash => "defaults, encrypted",
            Tool::Conserve => "defaults, not encrypted",
        }
    }

    pub(super) fn is_encrypted(self) -> bool {
        self != Tool::Conserve
    }

    /// Looks for the program in `folder` and then in the path; installs it if it is in neither.
    pub(super) fn obtain(self, folder: &Path) -> Result<PathBuf, String> {
        let found = || {
            let own = folder.join(self.name());
            own.is_file()
                .then_some(own)
                .or_else(|| install::find_in_path(self.name()))
        };
        if let Some(program) = found() {
            return Ok(program);
        }
        self.install(folder)?;
        found().ok_or_else(|| format!("{} is still not found after its installation", self.name()))
    }

    fn install(self, folder: &Path) -> Result<(), String> {
        let root = folder.parent().unwrap_or(folder);
        let root = root.display().to_string();
        match self {
            Tool::Lifeboat => Err("it is built, not installed".to_owned()),
            Tool::Restic => install::debian_packages(&["restic"]),
            Tool::Borg => install::debian_packages(&["borgbackup"]),
            Tool::Rustic => install::cargo_install(&["rustic-rs", "--root", &root]),
            Tool::Conserve => install::cargo_install(&["conserve", "--root", &root]),
            Tool::Bupstash => {
                install::debian_packages(&["libsodium-dev", "pkg-config"])?;
                install::cargo_install(&["bupstash", "--root", &root])
            }
        }
    }
}

/// A tool at hand, with places of its own.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) tool: Tool,
    pub(super) version: String,
    program: PathBuf,
    /// Home, keys and caches.
    home: PathBuf,
}

impl Peer {
    pub(super) fn new(tool: Tool, program: PathBuf, homes: &Path) -> Result<Self, String> {
        let flag = if tool == Tool::Restic {
            "version"
        } else {
            "--version"
        };
        Ok(Self {
            tool,
            version: program::version(&program, flag)?,
            program,
            home: homes.join(tool.name()),
        })
    }

    /// Makes an empty home, and what must be there before the repository is.
    pub(super) fn prepare(&self, repository: &Path, tree: &Path) -> Result<(), String> {
        let project = self.home.join("project");
        let mut files = vec![(self.home.join("password"), "bench\n".to_owned())];
        if self.tool == Tool::Lifeboat {
            let (base, environment) = project_files(repository, tree);
            files.push((project.join("lifeboat.toml"), base));
            files.push((project.join("environments/bench.toml"), environment));
        }
        for (path, text) in files {
            let folder = path.parent().expect("it lies in the home");
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&path, text))
                .map_err(|error| format!("`{}`: {error}", path.display()))?;
        }
        Ok(())
    }

    /// The runs that make an empty repository.
    pub(super) fn create(&self, repository: &Path) -> Vec<Run> {
        let (key, repository) = (self.in_home("bupstash.key"), text(repository));
        match self.tool {
            Tool::Lifeboat => vec![self.lifeboat(&["init"])],
            Tool::Restic => {
                vec![self.with_password(&repository, &["init", "--repository-version", "2"])]
            }
            Tool::Rustic => vec![self.with_password(&repository, &["init"])],
            Tool::Borg => vec![self.run(&["init", "-e", "repokey-blake2", &repository])],
            Tool::Bupstash => vec![
                self.run(&["new-key", "-o", &key]),
                self.run(&["init", "-r", &repository]),
            ],
            Tool::Conserve => vec![self.run(&["init", &repository])],
        }
    }

    /// The run that backs up the tree.
    pub(super) fn backup(&self, repository: &Path, tree: &Path, step: Step) -> Run {
        let (key, repository, tree) = (self.in_home("bupstash.key"), text(repository), text(tree));
        let name = step.name();
        match self.tool {
            Tool::Lifeboat => {
                let kind = if step == Step::First {
                    "--full"
                } else {
                    "--incremental"
                };
                self.lifeboat(&["backup", "bench", "tree", kind])
            }
            Tool::Restic | Tool::Rustic => self.with_password(&repository, &["backup", &tree]),
            Tool::Borg => {
                let archive = format!("{repository}::{name}");
                self.run(&["create", "-C", "zstd,3", &archive, &tree])
            }
            Tool::Bupstash => {
                let tag = format!("name={name}");
                self.run(&["put", "-q", "-r", &repository, "-k", &key, &tag, &tree])
            }
            Tool::Conserve => self.run(&["backup", "--no-progress", &repository, &tree]),
        }
    }

    /// The run that restores the newest snapshot into the empty folder `to`.
    pub(super) fn restore(&self, repository: &Path, to: &Path) -> Run {
        let (key, repository, out) = (self.in_home("bupstash.key"), text(repository), text(to));
        match self.tool {
            Tool::Lifeboat => self.lifeboat(&["restore", "bench", "tree", "--to", &out]),
            Tool::Restic => {
                self.with_password(&repository, &["restore", "latest", "--target", &out])
            }
            Tool::Rustic => self.with_password(&repository, &["restore", "latest", &out]),
            Tool::Borg => {
                let mut run = self.run(&["extract", &format!("{repository}::changed")]);
                run.folder = to.to_owned();
                run
            }
            Tool::Bupstash => self.run(&[
                "restore",
                "-q",
                "-r",
                &repository,
                "-k",
                &key,
                "--into",
                &out,
                "name=changed",
            ]),
            Tool::Conserve => self.run(&["restore", "--no-progress", &repository, &out]),
        }
    }

    fn in_home(&self, name: &str) -> String {
        text(&self.home.join(name))
    }

    fn lifeboat(&self, args: &[&str]) -> Run {
        let project = self.in_home("project");
        self.run(&[&["--quiet", "--project", &project], args].concat())
    }

    fn with_password(&self, repository: &str, args: &[&str]) -> Run {
        let password = self.in_home("password");
        let before = ["-r", repository, "--password-file", &password];
        self.run(&[&before, args].concat())
    }

    fn run(&self, args: &[&str]) -> Run {
        let home = || text(&self.home);
        Run {
            program: self.program.clone(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            folder: self.home.clone(),
            variables: vec![
                ("HOME", home()),
                ("XDG_CACHE_HOME", self.in_home("cache")),
                ("XDG_CONFIG_HOME", self.in_home("config")),
                ("BORG_BASE_DIR", home()),
                ("BORG_PASSPHRASE", "bench".to_owned()),
                ("RUSTIC_NO_PROGRESS", "true".to_owned()),
            ],
            account: Account::Own,
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A project of one local region and one source.
fn project_files(repository: &Path, tree: &Path) -> (String, String) {
    let (base, tree) = (program::project_base(repository), tree.display());
    let environment = format!(
        "class = \"development\"\nregion = \"home\"\n\n[source.tree]\nkind = \"files\"\npath = '{tree}'\n"
    );
    (base, environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_does_the_same_steps_in_its_own_home() {
        for tool in Tool::ALL {
            let peer = Peer {
                tool,
                version: String::new(),
                program: PathBuf::from(tool.name()),
                home: PathBuf::from("/homes/x"),
            };
            let (repository, tree) = (Path::new("/repo"), Path::new("/tree"));
            let mut runs = peer.create(repository);
            runs.extend(Step::ALL.map(|step| peer.backup(repository, tree, step)));
            runs.push(peer.restore(repository, Path::new("/out")));
            for run in runs {
                let home = ("HOME", "/homes/x".to_owned());
                assert!(run.variables.contains(&home), "{}", run.line());
                assert!(!run.line().contains("bench\n"), "{}", run.line());
            }
        }
    }
}
