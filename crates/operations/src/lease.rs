//! Leases around what the verbs do, so that a prune beside them takes nothing away.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_repository::{Lease, RepositoryError, RunKind};
use lifeboat_storage::ObjectStore;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::session::Session;

/// How often a lease is looked after: it renews itself when it is time to.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A lease that is renewed for as long as this value lives.
pub struct HeldLease {
    stop: oneshot::Sender<oneshot::Sender<Lease>>,
    renewing: JoinHandle<()>,
}

impl HeldLease {
    /// Announces work that writes into a store.
    pub(crate) async fn take(
        session: &Session,
        store: &Arc<dyn ObjectStore>,
        work: RunKind,
    ) -> Result<Self, RepositoryError> {
        let lease = Lease::take(store.clone(), &session.world, work, &session.host).await?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            stop,
            renewing: tokio::spawn(look_after(lease, stopped)),
        })
    }

    /// Announces work that only reads. A store that can only be read, too, serves without a lease:
    /// who cannot write there cannot prune there either.
    pub async fn for_reading(
        session: &Session,
        store: &Arc<dyn ObjectStore>,
        work: RunKind,
    ) -> Option<Self> {
        match Self::take(session, store, work).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::warn!(%error, "this {work} has no lease: a prune beside it may disturb it");
                None
            }
        }
    }

    /// Ends the lease.
    ///
    /// # Panics
    /// Never: looking after a lease does not panic.
    pub async fn end(self) {
        drop(self.stop);
        self.renewing
            .await
            .expect("looking after a lease does not panic");
    }

    /// Gives the lease back to who wants to commit something under it.
    pub(crate) async fn into_inner(self) -> Lease {
        let (give, given) = oneshot::channel();
        let sent = self.stop.send(give);
        assert!(
            sent.is_ok(),
            "the lease is looked after until it is asked for"
        );
        given
            .await
            .expect("the lease is handed over when asked for")
    }
}

/// Renews a lease until somebody asks for it, or nobody holds it any more.
async fn look_after(mut lease: Lease, stopped: oneshot::Receiver<oneshot::Sender<Lease>>) {
    let mut stopped = std::pin::pin!(stopped);
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut stopped).await {
            Err(_) => {
                if let Err(error) = lease.renew().await {
                    tracing::warn!(%error, "the lease could not be renewed");
                }
            }
            // Who asked may be gone by now; then the lease is taken for dead after an hour.
            Ok(Ok(asked)) => return drop(asked.send(lease)),
            Ok(Err(_)) => {
                if let Err(error) = lease.release().await {
                    tracing::warn!(%error, "the end of the lease was not recorded");
                }
                return;
            }
        }
    }
}
