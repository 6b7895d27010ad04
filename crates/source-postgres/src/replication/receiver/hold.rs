//! What makes the server keep the log while one connection receives it: taken before it streams, and
//! given up before it fills the server's disk.

use std::time::Duration;

use lifeboat_model::Lsn;

use super::link::Route;
use crate::conninfo::Conninfo;
use crate::replication::client::{SystemIdentity, WalSender};
use crate::replication::error::ReplicationError;
use crate::replication::slot::{ReceiverSlot, SlotGuard, SlotName, Unprotected};

/// How long a server may take to say where its log ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// The slot of one connection.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// The slot that is used.
    pub(super) slot: Option<SlotName>,
    /// Why there is none though there would be a temporary one.
    pub(super) unprotected: Option<Unprotected>,
}

/// Takes the slot that is wanted.
///
/// # Errors
/// Fails if a lasting slot is not there or keeps too much. That a temporary one cannot be had is none.
pub(super) async fn take(
    sender: &mut WalSender,
    route: &Route,
    server: SystemIdentity,
) -> Result<Hold, ReplicationError> {
    match &route.options.slot {
        ReceiverSlot::None => Ok(Hold::default()),
        ReceiverSlot::Temporary { .. } => take_temporary(sender, route, server).await,
        ReceiverSlot::Lasting { name, guard } => {
            let position = sender.read_slot(name).await?;
            let position =
                position.ok_or_else(|| ReplicationError::NoSlot { slot: name.clone() })?;
            let kept = position.restart.map_or(0, |at| server.end.bytes_since(at));
            if let Some(allowed) = route.options.slot.overstepped(kept) {
                return Err(give_up_lasting(sender, (name, *guard), kept, allowed).await?);
            }
            Ok(Hold {
                slot: Some(name.clone()),
                unprotected: None,
            })
        }
    }
}

async fn take_temporary(
    sender: &mut WalSender,
    route: &Route,
    server: SystemIdentity,
) -> Result<Hold, ReplicationError> {
    let kept = server.end.bytes_since(route.durable);
    let without = |unprotected| Hold {
        slot: None,
        unprotected: Some(unprotected),
    };
    if let Some(allowed) = route.options.slot.overstepped(kept) {
        return Ok(without(Unprotected::Behind { kept, allowed }));
    }
    match sender.create_own_slot().await {
        Ok(name) => Ok(Hold {
            slot: Some(name),
            unprotected: None,
        }),
        // Receiving without is worth more than not receiving.
        Err(
            error @ (ReplicationError::Server { .. }
            | ReplicationError::NotPermitted { .. }
            | ReplicationError::SlotExists { .. }),
        ) => Ok(without(Unprotected::Refused(error))),
        Err(error) => Err(error),
    }
}

/// Gives a lasting slot up as its guard says, and returns the error that tells of it.
pub(super) async fn give_up_lasting(
    sender: &mut WalSender,
    (name, guard): (&SlotName, SlotGuard),
    kept: u64,
    allowed: u64,
) -> Result<ReplicationError, ReplicationError> {
    if guard.drops() {
        sender.drop_slot(name).await?;
    }
    Ok(ReplicationError::SlotBehind {
        slot: name.clone(),
        kept,
        allowed,
        dropped: guard.drops(),
    })
}

/// Asks over another connection how far the server's log goes; `None` if it does not say soon.
pub(super) async fn ask_server_end(conninfo: &Conninfo) -> Option<Lsn> {
    let asked = async {
        let mut sender = WalSender::connect(conninfo).await?;
        let identity = sender.identify_system().await?;
        sender.close().await;
        Ok::<Lsn, ReplicationError>(identity.end)
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(end)) => Some(end),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the server does not say how far its log goes");
            None
        }
        Err(_) => None,
    }
}
