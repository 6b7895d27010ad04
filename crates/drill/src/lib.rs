//! Restore drills: scenarios, the phase clock, checks, the verdict and its evidence.
//!
//! A drill restores for real into a scratch place and proves the data there. How a restore is done
//! is not known here: `operations` is asked for it.

mod checks;
mod cluster;
mod evidence;
mod phases;
mod run;
mod scenario;

pub use checks::Check;
pub use evidence::DrillReport;
pub use phases::{Phase, PhaseClock};
pub use run::{DrillPlan, DrillRequest, plan_drill, run_drill};
pub use scenario::{OnlyRegion, Scenario};
