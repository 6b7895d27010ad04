//! The whole program against real PostgreSQL servers under load.

mod bad_input;
mod crash;
mod drill;
mod gaps;
mod history;
mod oddities;
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
mod staging;
mod targets;
mod versions;
