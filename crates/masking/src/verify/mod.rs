//! Leak verification: the gate between a masked copy and everybody who may not see production.
//!
//! While masking, [`Originals`] remembers keyed hashes of what must not come out. Afterwards
//! [`OutputScan`] reads the finished output back, and [`verify`] judges. No value enters a report.
//! Only [`LeakReport::release`] makes a [`Masked`] value, and only if every gate passed.

mod canaries;
mod chance;
mod clean;
mod gates;
mod hash_set;
mod names;
mod origin;
mod originals;
#[cfg(test)]
mod plainly;
mod report;
mod risk;
mod scan;
mod tokens;
mod walk;
mod word_key;

pub use canaries::Canaries;
pub use gates::{Evidence, IntegrityCheck, verify};
pub use originals::Originals;
pub(crate) use originals::{Observed, Observer};
pub use report::{Finding, Gate, LeakReport, Masked, NotMasked};
pub use scan::{OutputScan, ScanFindings};
