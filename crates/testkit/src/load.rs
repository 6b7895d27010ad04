//! pgbench in the background: the load that backups are taken under.

use std::process::Child;

/// A running pgbench, killed when dropped.
#[derive(Debug)]
pub struct PgBench {
    pub(crate) child: Child,
}

impl PgBench {
    /// Ends the load at once.
    pub fn stop(self) {}

    /// Waits until pgbench ends by itself and reports whether it succeeded.
    ///
    /// # Panics
    /// Panics if the process cannot be waited for.
    pub fn finish(mut self) -> bool {
        let status = self.child.wait().expect("pgbench is our child");
        status.success()
    }
}

impl Drop for PgBench {
    fn drop(&mut self) {
        // Either fails only if the process is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
