//! The repository engine through its public API, on memory stores.

mod browse;
mod faults;
mod keys;
mod snapshots;
mod support;
