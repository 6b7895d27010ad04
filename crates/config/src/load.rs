//! Loading: all layers, all checks, all problems.

use std::cell::RefCell;
use std::path::Path;

use lifeboat_model::Problems;

use crate::check;
use crate::config::Config;
use crate::layers;
use crate::read::{self, Context};
use crate::schedule::Schedules;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is worth telling about it: warnings and advice, no errors.
    pub warnings: Problems,
}

impl Config {
    /// Loads the project in `project_root`, with variables and then flags laid over its files.
    ///
    /// Of `variables`, those called `LIFEBOAT__a__b` set the key `a.b`; case does not matter in
    /// them, and `_` stands for `-` where a key has one. `flags` name their keys directly. Values
    /// are TOML, or else plain text. A relative `project_root` starts at the working directory.
    ///
    /// # Errors
    /// Returns every problem of every file, each with its place, if one of them is an error.
    pub fn load(
        project_root: &Path,
        variables: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Loaded, Problems> {
        let root = std::path::absolute(project_root).unwrap_or_else(|_| project_root.to_owned());
        let mut problems = Problems::new();
        let Some(tree) = layers::merge(&root, variables, flags, &mut problems) else {
            return Err(problems);
        };
        let problems = RefCell::new(problems);
        let context = Context {
            root: &root,
            problems: &problems,
            schedules: &Schedules::of(&root),
        };
        let config = read::config(tree, &context);
        let mut problems = problems.into_inner();
        problems.merge(config.check());
        let (config, warnings) = problems.into_result(config)?;
        Ok(Loaded { config, warnings })
    }

    /// Checks what no single value shows: rules between values, rules by class of environment,
    /// security policy, and advice.
    ///
    /// Loading does this already; its errors are among those that [`Config::load`] returns.
    pub fn check(&self) -> Problems {
        check::all(self)
    }
}
