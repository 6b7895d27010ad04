//! What took how long.

use lifeboat_runtime::{Clock, Stopwatch};
use serde::Serialize;

/// One step of a refresh, as it was timed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefreshPhase {
    /// What was done.
    pub name: &'static str,
    /// How long it took, seconds.
    pub secs: f64,
}

/// Times steps that follow each other.
pub(super) struct Phases<'c> {
    watch: Stopwatch<'c>,
    ended_secs: f64,
    done: Vec<RefreshPhase>,
}

impl<'c> Phases<'c> {
    pub(super) fn start(clock: &'c dyn Clock) -> Self {
        Self {
            watch: Stopwatch::start(clock),
            ended_secs: 0.0,
            done: Vec::new(),
        }
    }

    /// Ends a step, which began when the one before it ended.
    pub(super) fn end(&mut self, name: &'static str) {
        let now = self.watch.elapsed().as_secs_f64();
        let secs = now - self.ended_secs;
        self.done.push(RefreshPhase { name, secs });
        self.ended_secs = now;
    }

    /// Returns the time of the steps so far, seconds.
    pub(super) fn secs(&self) -> f64 {
        self.ended_secs
    }

    pub(super) fn finish(self) -> Vec<RefreshPhase> {
        self.done
    }
}
