//! The replication protocol: base backups and the log, as standbys get them.
//!
//! The client speaks only what a physical standby needs, so that every answer is checked against a
//! short list of what may come.

mod archive;
mod base_backup;
mod client;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod login;
mod messages;
mod receiver;
mod slot;
mod stream;

pub use base_backup::{BackupEvent, BackupStream, StreamEnd, StreamOptions, StreamStart};
pub use client::{CreatedSlot, HistoryFile, SystemIdentity, WalSender};
pub use error::ReplicationError;
pub use receiver::{Backoff, ReceiverOptions, WalEvent, WalReceiver};
pub use slot::{ReceiverSlot, SlotGuard, SlotKind, SlotName, SlotPosition, Unprotected};
pub use stream::{AskForReply, Started, Streamed, TimelineSwitch, WalStream};
