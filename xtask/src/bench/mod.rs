//! What the benchmarks of whole programs share: time, cost, limits of the machine, folders.

pub(crate) mod account;
pub(crate) mod clock;
pub(crate) mod folder;
pub(crate) mod limits;
pub(crate) mod measure;
pub(crate) mod program;
