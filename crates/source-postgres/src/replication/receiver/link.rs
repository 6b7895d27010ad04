//! One connection of a receiver: a task that streams, answers the server, and queues what came.

use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ReceiverOptions;
use super::hold::{self, Hold};
use crate::conninfo::Conninfo;
use crate::replication::client::{SystemIdentity, WalSender};
use crate::replication::error::ReplicationError;
use crate::replication::slot::{ReceiverSlot, Unprotected};
use crate::replication::stream::{AskForReply, Started, Streamed, TimelineSwitch, WalStream};
use crate::wal::TimelineHistory;

/// Messages that may wait for the caller. The server sends up to 128 KiB in each: 8 MiB.
const QUEUE: usize = 64;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where the log is taken up.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) options: ReceiverOptions,
    pub(super) timeline: Timeline,
    pub(super) position: Lsn,
    pub(super) durable: Lsn,
}

/// What the task hands over.
#[derive(Debug)]
pub(super) enum Delivery {
    Connected {
        host: String,
        segment_size: SegmentSize,
        unprotected: Option<Unprotected>,
    },
    Wal {
        start: Lsn,
        server_end: Lsn,
        bytes: Bytes,
    },
    Alive {
        server_end: Lsn,
    },
    TimelineEnded {
        at: Lsn,
        next: Timeline,
        history: Bytes,
        segment_size: SegmentSize,
    },
    /// The task's last word: it ended in peace, so that the next connection has the slot that it should.
    Again,
    /// The task's last word.
    Failed(ReplicationError),
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    durable: Lsn,
    stop: bool,
}

/// The caller's end of the task.
#[derive(Debug)]
pub(super) struct Link {
    deliveries: mpsc::Receiver<Delivery>,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
    host_hint: String,
}

impl Link {
    pub(super) fn start(conninfo: Conninfo, route: Route) -> Self {
        let (sender, deliveries) = mpsc::channel(QUEUE);
        let (orders, watched) = watch::channel(Orders {
            durable: route.durable,
            stop: false,
        });
        let host_hint = conninfo.to_string();
        let task = tokio::spawn(async move {
            if let Err(error) = run(&conninfo, &route, &sender, watched).await {
                // Nobody listens any more if the receiver was dropped.
                sender.send(Delivery::Failed(error)).await.ok();
            }
        });
        Self {
            deliveries,
            orders,
            task,
            host_hint,
        }
    }

    pub(super) async fn receive(&mut self) -> Delivery {
        let delivery = self.deliveries.recv().await;
        delivery.unwrap_or_else(|| {
            Delivery::Failed(ReplicationError::Ended {
                host: self.host_hint.clone(),
            })
        })
    }

    pub(super) fn confirm(&self, durable: Lsn) {
        self.orders.send_modify(|orders| orders.durable = durable);
    }

    pub(super) async fn stop(mut self) {
        self.orders.send_modify(|orders| orders.stop = true);
        // What still comes is not wanted, but the task may wait for room to hand it over.
        let drained = async { while self.deliveries.recv().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, drained).await.is_err() {
            tracing::debug!("the server did not say goodbye in time");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    conninfo: &Conninfo,
    route: &Route,
    deliveries: &mpsc::Sender<Delivery>,
    orders: watch::Receiver<Orders>,
) -> Result<(), ReplicationError> {
    let sender = WalSender::connect(conninfo).await?;
    let host = sender.host().to_owned();
    let limit = conninfo.connect_timeout;
    let prepared = tokio::time::timeout(limit, prepare(sender, route)).await;
    let (sender, segment_size, mut hold) = prepared.unwrap_or_else(|_| {
        Err(ReplicationError::Silent {
            host,
            secs: limit.as_secs(),
        })
    })?;
    let is_behind = matches!(hold.unprotected, Some(Unprotected::Behind { .. }));
    let connected = Delivery::Connected {
        host: sender.host().to_owned(),
        segment_size,
        unprotected: hold.unprotected.take(),
    };
    deliveries.send(connected).await.ok();
    let slot = hold.slot.as_ref();
    let started = sender.start_replication(slot, route.timeline, route.position);
    let ended = match started.await? {
        Started::TimelineEnded(sender, switch) => Ended::Timeline(sender, switch),
        Started::Streaming(stream) => {
            let pump = Pump {
                stream,
                conninfo,
                route,
                deliveries,
                orders,
                heard: Instant::now(),
                segment_size,
                has_slot: slot.is_some(),
                is_behind,
            };
            pump.run().await?
        }
    };
    match ended {
        Ended::Timeline(sender, switch) => {
            end_timeline(sender, switch, segment_size, deliveries).await
        }
        Ended::Overstepped(sender, kept, allowed) => {
            give_up_slot(sender, route, (kept, allowed), deliveries).await
        }
        Ended::CaughtUp(sender) => {
            sender.close().await;
            deliveries.send(Delivery::Again).await.ok();
            Ok(())
        }
        Ended::Stopped => Ok(()),
    }
}

/// How streaming ended.
enum Ended {
    Timeline(WalSender, TimelineSwitch),
    /// The slot keeps more bytes than it may.
    Overstepped(WalSender, u64, u64),
    /// So little is left to be received that a temporary slot may be had again.
    CaughtUp(WalSender),
    /// The receiver wants no more.
    Stopped,
}

/// Checks that the server's log is the one that is wanted, and that it can be had.
async fn prepare(
    mut sender: WalSender,
    route: &Route,
) -> Result<(WalSender, SegmentSize, Hold), ReplicationError> {
    let identity = sender.identify_system().await?;
    check_history(&mut sender, route, identity).await?;
    let segment_size = sender.segment_size().await?;
    let hold = hold::take(&mut sender, route, identity).await?;
    Ok((sender, segment_size, hold))
}

/// Refuses a server whose log is not the one that was received so far.
async fn check_history(
    sender: &mut WalSender,
    route: &Route,
    server: SystemIdentity,
) -> Result<(), ReplicationError> {
    let expected = route.options.system_id;
    if server.system_id != expected {
        return Err(ReplicationError::OtherCluster {
            expected,
            found: server.system_id,
        });
    }
    let diverged = ReplicationError::Diverged {
        timeline: route.timeline,
        at: route.position,
        server: server.timeline,
    };
    if server.timeline < route.timeline {
        return Err(diverged);
    }
    if server.timeline == route.timeline {
        return match server.end < route.position {
            true => Err(ReplicationError::Ahead {
                at: route.position,
                server_end: server.end,
            }),
            false => Ok(()),
        };
    }
    let file = sender.timeline_history(server.timeline).await?;
    let history = TimelineHistory::parse(server.timeline, &file.content)?;
    match history.continues(route.timeline, route.position) {
        true => Ok(()),
        false => Err(diverged),
    }
}

/// Gives up the slot, so that the server may forget what it kept. Without a temporary one, receiving
/// goes on.
async fn give_up_slot(
    mut sender: WalSender,
    route: &Route,
    (kept, allowed): (u64, u64),
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<(), ReplicationError> {
    let told = match &route.options.slot {
        ReceiverSlot::Lasting { name, guard } => {
            Err(hold::give_up_lasting(&mut sender, (name, *guard), kept, allowed).await?)
        }
        ReceiverSlot::Temporary { .. } | ReceiverSlot::None => Ok(()),
    };
    // A temporary slot ends with its connection.
    sender.close().await;
    told?;
    deliveries.send(Delivery::Again).await.ok();
    Ok(())
}

async fn end_timeline(
    mut sender: WalSender,
    switch: TimelineSwitch,
    segment_size: SegmentSize,
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<(), ReplicationError> {
    let file = sender.timeline_history(switch.next).await?;
    let ended = Delivery::TimelineEnded {
        at: switch.at,
        next: switch.next,
        history: file.content,
        segment_size,
    };
    deliveries.send(ended).await.ok();
    sender.close().await;
    Ok(())
}

/// The streaming part.
struct Pump<'a> {
    stream: WalStream,
    conninfo: &'a Conninfo,
    route: &'a Route,
    deliveries: &'a mpsc::Sender<Delivery>,
    orders: watch::Receiver<Orders>,
    heard: Instant,
    segment_size: SegmentSize,
    has_slot: bool,
    /// Whether it has no temporary slot because too much was left to be received.
    is_behind: bool,
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
    async fn run(mut self) -> Result<Ended, ReplicationError> {
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
