//! Checks of what no single value shows, in the order people read them.
//!
//! Reading has done the schema. Here come rules between values and by class of environment, then
//! security policy, then advice. Each check is a function from a configuration to problems; none
//! touches the world, but for asking whether a file that is named exists.

mod advice;
mod class;
mod reference;
mod refresh;
mod region;
mod schedule;
mod security;

use lifeboat_model::{Problem, Problems, Severity};

use crate::config::{Config, Environment};
use crate::origins;

/// Runs every check.
pub(crate) fn all(config: &Config) -> Problems {
    let mut found = Problems::new();
    for check in [
        reference::check,
        region::check,
        class::check,
        schedule::check,
        refresh::check,
        security::check,
        advice::check,
    ] {
        check(&mut Findings {
            config,
            found: &mut found,
        });
    }
    found
}

/// A configuration under check, and what was found so far.
struct Findings<'c> {
    config: &'c Config,
    found: &'c mut Problems,
}

impl<'c> Findings<'c> {
    /// Returns the environments; the borrow is of the configuration, not of the findings.
    fn environments(&self) -> impl Iterator<Item = &'c Environment> + use<'c> {
        self.config.environments.values()
    }

    /// Notes an error at the value at `path`, or the nearest place above it.
    fn error(&mut self, path: &[&str], message: String, hint: &str) {
        self.note(Severity::Error, path, message, hint);
    }

    /// Notes a warning.
    fn warn(&mut self, path: &[&str], message: String, hint: &str) {
        self.note(Severity::Warning, path, message, hint);
    }

    /// Notes advice.
    fn advise(&mut self, path: &[&str], message: String, hint: &str) {
        self.note(Severity::Advice, path, message, hint);
    }

    fn note(&mut self, severity: Severity, path: &[&str], message: String, hint: &str) {
        let origin = origins::origin(&self.config.tree, path);
        self.push(origin.problem(severity, message, Some(hint.to_owned())));
    }

    fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Reports whether anything is written at `path`: what is there but wrong was reported when
    /// it was read, and must not be called missing too.
    fn is_written(&self, path: &[&str]) -> bool {
        origins::find(&self.config.tree, path).is_some()
    }

    /// Returns where `path` stands, for messages: `lifeboat.toml:4`.
    fn place(&self, path: &[&str]) -> String {
        origins::place(&origins::origin(&self.config.tree, path))
    }
}
