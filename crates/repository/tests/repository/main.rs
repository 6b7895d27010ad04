//! The repository engine through its public API, on memory stores.

mod browse;
mod faults;
mod issued;
mod keys;
mod prune;
mod repair;
mod replicas;
mod simulation;
mod snapshots;
mod support;
mod wal;
mod wal_closure;
