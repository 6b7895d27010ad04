//! The whole program against real PostgreSQL servers under load.

mod bad_input;
mod crash;
mod drill;
mod gaps;
mod history;
mod outage;
mod pitr;
mod project;
mod promotion;
mod prune;
mod queue;
mod receive;
mod refresh;
mod remote;
mod restored;
mod targets;
mod versions;
