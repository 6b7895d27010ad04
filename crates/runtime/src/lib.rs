//! The world as arguments: clock, entropy, environment variables, compute pool, memory budget and
//! progress.
//!
//! Nothing above this crate asks the operating system for the time, for randomness or for a
//! variable; it takes one of these. With [`ManualClock`], [`SeededEntropy`] and
//! [`ComputePool::inline`] the same call sequence gives the same result, byte for byte.

mod budget;
mod clock;
mod compute;
mod entropy;
mod progress;
mod secret;
mod throttle;
mod variables;
mod world;

pub use budget::{BudgetPermit, MemoryBudget};
pub use clock::{Clock, ManualClock, Stopwatch, SystemClock};
pub use compute::{Answer, ComputePool};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use progress::{NoProgress, Progress};
pub use secret::{SecretBytes, SecretError, SecretRef};
pub use throttle::Throttle;
pub use variables::Variables;
pub use world::World;
