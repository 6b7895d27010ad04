//! The repository engine through its public API, on memory stores.

mod faults;
mod keys;
mod prune;
mod simulation;
mod snapshots;
mod support;
