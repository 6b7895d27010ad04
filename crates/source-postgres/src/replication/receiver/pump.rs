//! The streaming part of a connection: hands over what comes, answers the server, and watches how much a
//! slot makes it keep.

use lifeboat_model::{Lsn, Segment, SegmentSize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::hold;
use super::link::{Delivery, GOODBYE, Orders, Route};
use crate::conninfo::Conninfo;
use crate::replication::client::WalSender;
use crate::replication::error::ReplicationError;
use crate::replication::slot::ReceiverSlot;
use crate::replication::stream::{AskForReply, Streamed, TimelineSwitch, WalStream};

/// How streaming ended.
pub(super) enum Ended {
    Timeline(WalSender, TimelineSwitch),
    /// The slot keeps more bytes than it may.
    Overstepped(WalSender, u64, u64),
    /// So little is left to be received that a temporary slot may be had again.
    CaughtUp(WalSender),
    /// The receiver wants no more.
    Stopped,
}

/// The streaming part.
pub(super) struct Pump<'a> {
    pub(super) stream: WalStream,
    pub(super) conninfo: &'a Conninfo,
    pub(super) route: &'a Route,
    pub(super) deliveries: &'a mpsc::Sender<Delivery>,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) heard: Instant,
    pub(super) segment_size: SegmentSize,
    pub(super) has_slot: bool,
    /// Whether it has no temporary slot because too much was left to be received.
    pub(super) is_behind: bool,
}

/// What is to be done about the slot.
#[derive(Debug, Clone, Copy)]
enum SlotChange {
    GiveUp { kept: u64, allowed: u64 },
    Take,
}

/// What woke the pump.
enum Woken {
    Streamed(Streamed),
    Ordered,
    Ticked,
    /// The caller is gone.
    Abandoned,
}

impl Pump<'_> {
    /// Streams until the timeline ends, the slot is to be given up or taken, or until told to stop.
    pub(super) async fn run(mut self) -> Result<Ended, ReplicationError> {
        let mut ticks = interval(self.route.options.status_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = self.wait(&mut ticks).await?;
            let server_end = match woken {
                Woken::Streamed(Streamed::TimelineEnded) => return self.finish().await,
                Woken::Streamed(Streamed::ServerEnded) => {
                    return Err(ReplicationError::Ended {
                        host: self.stream.host().to_owned(),
                    });
                }
                Woken::Streamed(streamed) => self.deliver(streamed).await?,
                Woken::Ordered if self.orders.borrow_and_update().stop => {
                    return self.say_goodbye().await;
                }
                Woken::Ordered => {
                    self.tell(AskForReply::No).await?;
                    None
                }
                Woken::Ticked => self.tick().await?,
                Woken::Abandoned => return Ok(Ended::Stopped),
            };
            if let Some(change) = server_end.and_then(|end| self.slot_change(end)) {
                return self.change_slot(change).await;
            }
        }
    }

    /// Says what follows for the slot from how far the server's log goes.
    fn slot_change(&self, server_end: Lsn) -> Option<SlotChange> {
        let kept = server_end.bytes_since(self.orders.borrow().durable);
        match &self.route.options.slot {
            slot if self.has_slot => {
                let allowed = slot.overstepped(kept)?;
                Some(SlotChange::GiveUp { kept, allowed })
            }
            // Half, so that it is not given up again at once.
            ReceiverSlot::Temporary { kept_max } if self.is_behind => {
                (kept <= kept_max / 2).then_some(SlotChange::Take)
            }
            _ => None,
        }
    }

    async fn change_slot(self, change: SlotChange) -> Result<Ended, ReplicationError> {
        let host = self.stream.host().to_owned();
        let finished = tokio::time::timeout(GOODBYE, self.stream.finish()).await;
        let (sender, _) = finished.unwrap_or(Err(ReplicationError::Silent {
            host,
            secs: GOODBYE.as_secs(),
        }))?;
        Ok(match change {
            SlotChange::GiveUp { kept, allowed } => Ended::Overstepped(sender, kept, allowed),
            SlotChange::Take => Ended::CaughtUp(sender),
        })
    }

    /// Waits for something to do. The log is read only while there is room to hand it over; the rest
    /// goes on all the time.
    async fn wait(&mut self, ticks: &mut tokio::time::Interval) -> Result<Woken, ReplicationError> {
        let (stream, deliveries) = (&mut self.stream, self.deliveries);
        let streamed = async {
            // Given back at once: nobody else fills the queue, so the room stays.
            if deliveries.reserve().await.is_err() {
                return Ok(Woken::Abandoned);
            }
            stream.next().await.map(Woken::Streamed)
        };
        tokio::select! {
            biased;
            changed = self.orders.changed() => Ok(match changed {
                Ok(()) => Woken::Ordered,
                Err(_) => Woken::Abandoned,
            }),
            _ = ticks.tick() => Ok(Woken::Ticked),
            streamed = streamed => streamed.map_err(|error| self.name_segment(error)),
        }
    }

    /// Says which segment is missing, if that is what the server says.
    fn name_segment(&self, error: ReplicationError) -> ReplicationError {
        match error {
            ReplicationError::Server { source, .. } if source.code == "58P01" => {
                let from = self.route.position;
                ReplicationError::SegmentRemoved {
                    segment: Segment::holding(self.route.timeline, from, self.segment_size),
                    from,
                    source,
                }
            }
            other => match &self.route.options.slot {
                ReceiverSlot::Lasting { name, .. } => other.about_slot(name),
                ReceiverSlot::Temporary { .. } | ReceiverSlot::None => other,
            },
        }
    }

    /// Hands over what came; returns how far the server's log goes, if that says it.
    async fn deliver(&mut self, streamed: Streamed) -> Result<Option<Lsn>, ReplicationError> {
        self.heard = Instant::now();
        let mut log_end = None;
        let delivery = match streamed {
            Streamed::Wal {
                start,
                server_end,
                bytes,
            } => {
                log_end = Some(server_end);
                Delivery::Wal {
                    start,
                    server_end,
                    bytes,
                }
            }
            Streamed::KeepAlive { server_end, reply } => {
                if reply {
                    self.tell(AskForReply::No).await?;
                }
                Delivery::Alive { server_end }
            }
            Streamed::TimelineEnded | Streamed::ServerEnded => return Ok(None),
        };
        // Nobody listens if the receiver was dropped; the next wait notices.
        self.deliveries.send(delivery).await.ok();
        Ok(log_end)
    }

    async fn tell(&mut self, ask: AskForReply) -> Result<(), ReplicationError> {
        let durable = self.orders.borrow().durable;
        self.stream.send_status(durable, ask).await
    }

    /// Tells the server that we live. Returns how far its log goes if that cannot be read in the stream
    /// because nobody takes what came.
    async fn tick(&mut self) -> Result<Option<Lsn>, ReplicationError> {
        let silent = self.heard.elapsed();
        let silence_max = self.route.options.silence_max;
        // While the queue is full nothing is read, so silence says nothing about the server.
        let reading = self.deliveries.capacity() > 0;
        if reading && silent > silence_max * 2 {
            return Err(ReplicationError::Silent {
                host: self.stream.host().to_owned(),
                secs: silent.as_secs(),
            });
        }
        let ask = if reading && silent > silence_max {
            AskForReply::Yes
        } else {
            AskForReply::No
        };
        self.tell(ask).await?;
        match self.has_slot && !reading {
            true => Ok(hold::ask_server_end(self.conninfo).await),
            false => Ok(None),
        }
    }

    async fn finish(self) -> Result<Ended, ReplicationError> {
        let (sender, switch) = self.stream.finish().await?;
        let switch = switch.ok_or_else(|| {
            ReplicationError::protocol("stream the log", "does not name the next timeline")
        })?;
        Ok(Ended::Timeline(sender, switch))
    }

    async fn say_goodbye(mut self) -> Result<Ended, ReplicationError> {
        self.tell(AskForReply::No).await?;
        let (sender, _) = self.stream.finish().await?;
        sender.close().await;
        Ok(Ended::Stopped)
    }
}
