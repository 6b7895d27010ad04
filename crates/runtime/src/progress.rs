//! What a long operation tells the person who waits for it.

/// Receives the steps of one operation. Calls must be cheap; they come from hot loops.
pub trait Progress: Send + Sync {
    /// A named phase begins; `total_bytes` is 0 if unknown.
    fn phase(&self, name: &str, total_bytes: u64);

    /// So many more bytes of the phase are done.
    fn advance(&self, bytes: u64);

    /// Something went wrong that does not stop the operation. It is also part of the report.
    fn warn(&self, message: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn phase(&self, _name: &str, _total_bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn warn(&self, _message: &str) {}
}
