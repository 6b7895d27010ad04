//! One connection of a receiver: a task that streams, answers the server, and queues what came.

use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Lsn, Segment, SegmentSize, Timeline};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ReceiverOptions;
use crate::conninfo::Conninfo;
use crate::replication::client::{SystemIdentity, WalSender};
use crate::replication::error::ReplicationError;
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
    let (sender, segment_size) = prepared.unwrap_or_else(|_| {
        Err(ReplicationError::Silent {
            host,
            secs: limit.as_secs(),
        })
    })?;
    let connected = Delivery::Connected {
        host: sender.host().to_owned(),
        segment_size,
    };
    deliveries.send(connected).await.ok();
    let slot = route.options.slot.as_ref();
    let started = sender.start_replication(slot, route.timeline, route.position);
    let (sender, switch) = match started.await? {
        Started::TimelineEnded(sender, switch) => (sender, switch),
        Started::Streaming(stream) => {
            let pump = Pump {
                stream,
                route,
                deliveries,
                orders,
                heard: Instant::now(),
                segment_size,
            };
            match pump.run().await? {
                Some(ended) => ended,
                None => return Ok(()),
            }
        }
    };
    end_timeline(sender, switch, segment_size, deliveries).await
}

/// Checks that the server's log is the one that is wanted, and that it can be had.
async fn prepare(
    mut sender: WalSender,
    route: &Route,
) -> Result<(WalSender, SegmentSize), ReplicationError> {
    let identity = sender.identify_system().await?;
    check_history(&mut sender, route, identity).await?;
    check_slot(&mut sender, route, identity).await?;
    let segment_size = sender.segment_size().await?;
    Ok((sender, segment_size))
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

/// Refuses a slot that keeps more than it may, before anything is received.
async fn check_slot(
    sender: &mut WalSender,
    route: &Route,
    server: SystemIdentity,
) -> Result<(), ReplicationError> {
    let Some(slot) = &route.options.slot else {
        return Ok(());
    };
    let position = sender.read_slot(slot).await?;
    let position = position.ok_or_else(|| ReplicationError::NoSlot { slot: slot.clone() })?;
    let kept = position
        .restart
        .map(|restart| server.end.bytes_since(restart));
    let kept = kept.unwrap_or(0);
    let guard = route.options.guard;
    let Some(allowed) = guard.overstepped(kept) else {
        return Ok(());
    };
    if guard.drops() {
        sender.drop_slot(slot).await?;
    }
    Err(ReplicationError::SlotBehind {
        slot: slot.clone(),
        kept,
        allowed,
        dropped: guard.drops(),
    })
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
    route: &'a Route,
    deliveries: &'a mpsc::Sender<Delivery>,
    orders: watch::Receiver<Orders>,
    heard: Instant,
    segment_size: SegmentSize,
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
    /// Streams until the timeline ends, which it returns, or until told to stop.
    async fn run(mut self) -> Result<Option<(WalSender, TimelineSwitch)>, ReplicationError> {
        let mut ticks = interval(self.route.options.status_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = self.wait(&mut ticks).await?;
            match woken {
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
                Woken::Ordered => self.tell(AskForReply::No).await?,
                Woken::Ticked => self.tick().await?,
                Woken::Abandoned => return Ok(None),
            }
        }
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
            ReplicationError::Server { op, source } => match &self.route.options.slot {
                Some(slot) => ReplicationError::Server { op, source }.about_slot(slot),
                None => ReplicationError::Server { op, source },
            },
            other => other,
        }
    }

    async fn deliver(&mut self, streamed: Streamed) -> Result<(), ReplicationError> {
        self.heard = Instant::now();
        let delivery = match streamed {
            Streamed::Wal {
                start,
                server_end,
                bytes,
            } => Delivery::Wal {
                start,
                server_end,
                bytes,
            },
            Streamed::KeepAlive { server_end, reply } => {
                if reply {
                    self.tell(AskForReply::No).await?;
                }
                Delivery::Alive { server_end }
            }
            Streamed::TimelineEnded | Streamed::ServerEnded => return Ok(()),
        };
        // Nobody listens if the receiver was dropped; the next wait notices.
        self.deliveries.send(delivery).await.ok();
        Ok(())
    }

    async fn tell(&mut self, ask: AskForReply) -> Result<(), ReplicationError> {
        let durable = self.orders.borrow().durable;
        self.stream.send_status(durable, ask).await
    }

    async fn tick(&mut self) -> Result<(), ReplicationError> {
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
        self.tell(ask).await
    }

    async fn finish(self) -> Result<Option<(WalSender, TimelineSwitch)>, ReplicationError> {
        let (sender, switch) = self.stream.finish().await?;
        let switch = switch.ok_or_else(|| {
            ReplicationError::protocol("stream the log", "does not name the next timeline")
        })?;
        Ok(Some((sender, switch)))
    }

    async fn say_goodbye(
        mut self,
    ) -> Result<Option<(WalSender, TimelineSwitch)>, ReplicationError> {
        self.tell(AskForReply::No).await?;
        let (sender, _) = self.stream.finish().await?;
        sender.close().await;
        Ok(None)
    }
}
