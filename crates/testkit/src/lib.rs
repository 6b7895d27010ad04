//! Real servers for tests, started by the tests themselves, gone when they end.
//!
//! Only tests and benchmarks use this crate. It panics where a test would have to: a server that
//! does not start is a failed test, and the panic shows the end of the server's log.

mod account;
mod cluster;
mod home;
mod installation;
mod load;
pub mod proxy;
pub mod s3;

pub use account::ServerAccount;
pub use cluster::{ClusterOptions, PgCluster, StopMode};
pub use installation::PgInstallation;
pub use load::PgBench;
