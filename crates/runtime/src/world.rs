//! Clock, entropy and compute pool together, as most callers need them.

use std::sync::Arc;

use crate::{Clock, ComputePool, Entropy};

/// The parts of the world that an operation needs besides its stores.
#[derive(Clone)]
pub struct World {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Runs CPU work.
    pub pool: ComputePool,
}
