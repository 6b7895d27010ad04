//! Receives the log without a gap: over lost connections and from one timeline to the next.
//!
//! A task of its own holds the connection, so that the server hears from us however long the caller
//! takes over what it was given. What waits for the caller is bounded; when it is full, the server
//! waits too.

mod hold;
mod link;
mod pump;

use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Diagnose as _, ErrorKind, Lsn, Segment, SegmentSize, SystemId, Timeline};
use tokio::time::Instant;

use super::error::ReplicationError;
use super::slot::{ReceiverSlot, Unprotected};
use crate::conninfo::Conninfo;
use link::{Delivery, Link, Route};

/// How long to wait before the server is tried again, doubled each time up to a limit.
///
/// A cluster has one receiver per region, so there is no herd that would need jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first attempt.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
    /// How many attempts in a row may fail.
    pub attempts_max: u32,
}

impl Default for Backoff {
    /// A tenth of a second, up to five; some ten minutes in all.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            attempts_max: 120,
        }
    }
}

impl Backoff {
    /// Returns the wait before an attempt, counted from 1.
    fn wait(self, attempt: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// What a receiver receives.
#[derive(Debug, Clone)]
pub struct ReceiverOptions {
    /// The cluster: no other's log is taken.
    pub system_id: SystemId,
    /// The timeline that holds `start`.
    pub timeline: Timeline,
    /// The first byte to receive.
    pub start: Lsn,
    /// What keeps the log on the server until it was received.
    pub slot: ReceiverSlot,
    /// How lost connections are dealt with.
    pub backoff: Backoff,
    /// How often the server hears from us, at least.
    pub status_every: Duration,
    /// How long the server may be silent before it is asked; twice as long, and it is taken for dead.
    pub silence_max: Duration,
}

impl ReceiverOptions {
    /// Receives from `start` on, without a slot.
    pub fn new(system_id: SystemId, timeline: Timeline, start: Lsn) -> Self {
        Self {
            system_id,
            timeline,
            start,
            slot: ReceiverSlot::None,
            backoff: Backoff::default(),
            status_every: Duration::from_secs(5),
            silence_max: Duration::from_secs(15),
        }
    }
}

/// The next thing that happened to the log.
#[derive(Debug)]
pub enum WalEvent {
    /// A connection came about.
    Connected {
        /// With this host.
        host: String,
        /// The length of the cluster's segments.
        segment_size: SegmentSize,
        /// Why it has no temporary slot though it would have one.
        unprotected: Option<Unprotected>,
    },
    /// Bytes that follow those before.
    Bytes {
        /// Their timeline.
        timeline: Timeline,
        /// The position of the first.
        start: Lsn,
        /// The bytes.
        bytes: Bytes,
    },
    /// The timeline ended: another server was promoted. The next bytes are of the next timeline, from
    /// the start of the segment that holds `at`: its first segment repeats what came before.
    TimelineEnded {
        /// Which.
        timeline: Timeline,
        /// The first byte that is not of it.
        at: Lsn,
        /// The timeline that follows.
        next: Timeline,
        /// The next timeline's history file.
        history: Bytes,
    },
    /// Nothing happened within the time.
    Idle,
    /// The connection is gone; another one is tried after a while.
    Disconnected {
        /// Why.
        error: ReplicationError,
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// When.
        retry_in: Duration,
    },
}

/// Receives the log of a cluster.
#[derive(Debug)]
pub struct WalReceiver {
    conninfo: Conninfo,
    options: ReceiverOptions,
    timeline: Timeline,
    /// The first byte that was not handed out.
    position: Lsn,
    durable: Lsn,
    server_end: Lsn,
    link: Option<Link>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl WalReceiver {
    /// Prepares to receive; the first [`WalReceiver::next`] connects. Needs a tokio runtime.
    pub fn new(conninfo: Conninfo, options: ReceiverOptions) -> Self {
        Self {
            conninfo,
            timeline: options.timeline,
            position: options.start,
            durable: options.start,
            server_end: options.start,
            link: None,
            failures: 0,
            retry_at: None,
            options,
        }
    }

    /// Waits up to `timeout` for the next thing. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Fails if waiting would not help: the server removed the log that is needed, is another cluster
    /// or on another history, the login is refused, the slot is gone or keeps too much, or all
    /// attempts to come back failed. The receiver can be asked again, and then starts anew from where
    /// it was.
    pub async fn next(&mut self, timeout: Duration) -> Result<WalEvent, ReplicationError> {
        let next = tokio::time::timeout(timeout, self.next_event()).await;
        next.unwrap_or(Ok(WalEvent::Idle))
    }

    /// Says that all of the log before `lsn` is durable, so that the server may forget it.
    pub fn confirm(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn);
        if let Some(link) = &self.link {
            link.confirm(self.durable);
        }
    }

    /// Returns the timeline that is being received.
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Returns the position after the last byte that was handed out.
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// Returns how far the server's log went when it last spoke.
    pub const fn server_end(&self) -> Lsn {
        self.server_end
    }

    /// Tells the server what is durable, ends the stream in peace and waits for the goodbye, but not
    /// for long.
    pub async fn stop(mut self) {
        if let Some(link) = self.link.take() {
            link.stop().await;
        }
    }

    async fn next_event(&mut self) -> Result<WalEvent, ReplicationError> {
        loop {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            if self.link.is_none() {
                self.link = Some(Link::start(self.conninfo.clone(), self.route()));
            }
            let link = self.link.as_mut().expect("it was just made");
            let delivery = link.receive().await;
            if let Some(event) = self.take(delivery)? {
                return Ok(event);
            }
        }
    }

    fn route(&self) -> Route {
        Route {
            options: self.options.clone(),
            timeline: self.timeline,
            position: self.position,
            durable: self.durable,
        }
    }

    fn take(&mut self, delivery: Delivery) -> Result<Option<WalEvent>, ReplicationError> {
        match delivery {
            Delivery::Connected {
                host,
                segment_size,
                unprotected,
            } => Ok(Some(WalEvent::Connected {
                host,
                segment_size,
                unprotected,
            })),
            Delivery::Alive { server_end } => {
                self.heard(server_end);
                Ok(None)
            }
            Delivery::Wal {
                start,
                server_end,
                bytes,
            } => {
                self.heard(server_end);
                self.take_bytes(start, bytes).map(Some)
            }
            Delivery::TimelineEnded {
                at,
                next,
                history,
                segment_size,
            } => {
                self.link = None;
                let timeline = std::mem::replace(&mut self.timeline, next);
                self.position = Segment::holding(next, at, segment_size).start(segment_size);
                Ok(Some(WalEvent::TimelineEnded {
                    timeline,
                    at,
                    next,
                    history,
                }))
            }
            Delivery::Again => {
                self.link = None;
                Ok(None)
            }
            Delivery::Failed(error) => self.lost(error).map(Some),
        }
    }

    fn take_bytes(&mut self, start: Lsn, bytes: Bytes) -> Result<WalEvent, ReplicationError> {
        if start != self.position {
            self.link = None;
            return Err(ReplicationError::Gap {
                expected: self.position,
                found: start,
            });
        }
        self.position = Lsn::new(start.get() + bytes.len() as u64);
        Ok(WalEvent::Bytes {
            timeline: self.timeline,
            start,
            bytes,
        })
    }

    fn heard(&mut self, server_end: Lsn) {
        self.failures = 0;
        self.server_end = server_end;
    }

    fn lost(&mut self, error: ReplicationError) -> Result<WalEvent, ReplicationError> {
        self.link = None;
        if !matches!(error.kind(), ErrorKind::Transient | ErrorKind::Busy) {
            return Err(error);
        }
        self.failures += 1;
        let attempt = self.failures;
        if attempt > self.options.backoff.attempts_max {
            self.failures = 0;
            return Err(ReplicationError::GaveUp {
                attempts: attempt - 1,
                source: Box::new(error),
            });
        }
        let retry_in = self.options.backoff.wait(attempt);
        self.retry_at = Some(Instant::now() + retry_in);
        Ok(WalEvent::Disconnected {
            error,
            attempt,
            retry_in,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (1..=8)
            .map(|attempt| backoff.wait(attempt).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.wait(1_000), Duration::from_secs(5));
    }
}
