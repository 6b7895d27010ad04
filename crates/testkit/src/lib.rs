//! Real servers for tests, started by the tests themselves, gone when they end.
//!
//! Only tests and benchmarks use this crate.

pub mod proxy;
pub mod s3;
