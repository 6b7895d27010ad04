//! PostgreSQL clusters: from a running server into a snapshot, and back.
//!
//! Owns how a snapshot of a cluster is laid out and what it needs of the log. The snapshot holds
//! `data/…`, the data directory; `pg_tblspc/OID/…`, the tablespaces; and `recovery/…`, what makes these
//! files a cluster again: the backup's label, the control file, and the log if it is carried along.

mod backup;
mod delta_target;
mod facts;
mod isolated;
mod kept;
mod log;
mod recovery;
mod remote;
mod restore;
mod server;

pub use facts::{CLUSTER_FACT, ClusterFacts, DamagedPage, TablespaceFacts};
pub use isolated::IsolatedCluster;
pub use recovery::{ClusterRestore, LogAccess, Recovery, ThenDo};
pub use restore::FetchCommand;
pub use server::{cluster_database, server_programs};

pub(crate) use backup::read_cluster;
pub(crate) use recovery::{choose_recovery, of_cluster};
pub(crate) use restore::{IntoCluster, restore};
pub(crate) use server::{connect, conninfo, conninfo_of};
