//! A bound on the bytes a second that work may move.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Lets bytes pass at a rate. Whoever takes some waits until it is their turn.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_sec: u64,
    /// When the line is free again.
    free: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Makes a throttle that lets `bytes_per_sec` pass, 1 at least.
    pub fn new(bytes_per_sec: u64) -> Self {
        Self {
            bytes_per_sec: bytes_per_sec.max(1),
            free: Mutex::new(None),
        }
    }

    /// Waits until `bytes` may pass.
    pub async fn take(&self, bytes: u64) {
        let turn = self.queue(bytes, Instant::now());
        tokio::time::sleep_until(turn).await;
    }

    /// Takes the next free time on the line and returns when it begins.
    fn queue(&self, bytes: u64, now: Instant) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_sec as f64);
        let mut free = self.free.lock().expect("no holder panics");
        let turn = free.map_or(now, |free| free.max(now));
        *free = Some(turn + takes);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_one_after_the_other_and_idle_time_is_not_saved_up() {
        let throttle = Throttle::new(1000);
        let start = Instant::now();
        assert_eq!(throttle.queue(500, start), start);
        let half = start + Duration::from_millis(500);
        assert_eq!(throttle.queue(1000, start), half);
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.queue(1000, later), later);
    }
}
