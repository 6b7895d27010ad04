//! Schedules carried out: where each job stands, what is due, and running it.
//!
//! When a job is due is decided by `policy`, from what the ledger tells; how its work is done is
//! known to `operations` and `drill`. This crate reads the one, calls the other, and sees to it that
//! a job runs once, ends in time, and leaves word of how it ended. It keeps no state of its own: any
//! host with the project can go on where another one stopped.

mod act;
mod ledger;
mod limit;
mod lock;
mod preview;
mod report;
mod run;
mod state;

pub use preview::{PlannedStart, preview};
pub use report::{Gap, JobEnd, JobReport};
pub use run::{Ask, Overview, run_due, run_job};
pub use state::{Attempted, JobState, Standing, in_order, states};
