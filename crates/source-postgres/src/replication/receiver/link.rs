//! One connection of a receiver: a task that streams, answers the server, and queues what came.

use std::time::Duration;

use bytes::Bytes;
use lifeboat_model::{Lsn, SegmentSize, Timeline};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ReceiverOptions;
use super::hold::{self, Hold};
use super::pump::{Ended, Pump};
use crate::conninfo::Conninfo;
use crate::replication::client::{SystemIdentity, WalSender};
use crate::replication::error::ReplicationError;
use crate::replication::slot::{ReceiverSlot, Unprotected};
use crate::replication::stream::{Started, TimelineSwitch};
use crate::wal::TimelineHistory;

/// Messages that may wait for the caller. The server sends up to 128 KiB in each: 8 MiB.
const QUEUE: usize = 64;
/// How long a goodbye may take.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

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
pub(super) struct Orders {
    pub(super) durable: Lsn,
    pub(super) stop: bool,
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
