//! The repository engine through its public API, on memory stores.

mod faults;
mod issued;
mod keys;
mod snapshots;
mod support;
