//! Work with a limit to its time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long work that was told to stop may take to do so.
const STOPPING: Duration = Duration::from_secs(5);

/// What came of work with a limit.
pub(crate) enum Limited<T> {
    /// It ended by itself.
    Ended(T),
    /// Its time was over, and it was dropped: what it kept on disk for itself is gone.
    Stopped,
    /// Its time was over, but it hangs in the system and cannot be dropped. It does no more once it
    /// wakes, and the end of the process is its end.
    LeftBehind,
}

/// Does `work` within `limit`.
///
/// It has a thread of its own, because reading sources and masking block; so the limit holds even if
/// it hangs in the system, as on a share whose server is gone.
pub(crate) async fn within<T, W, F>(limit: Option<Duration>, work: W) -> Limited<T>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = T>,
{
    let (stop, stopped) = oneshot::channel::<()>();
    let (done, mut ended) = oneshot::channel();
    let handle = Handle::current();
    let thread = std::thread::spawn(move || {
        let result = handle.block_on(async {
            match select(pin!(work()), stopped).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        });
        // If nobody waits any more, the work was left behind.
        done.send(result).ok();
    });
    let in_time = match limit {
        Some(limit) => tokio::time::timeout(limit, &mut ended).await.ok(),
        None => Some((&mut ended).await),
    };
    let ended = match in_time {
        Some(ended) => ended,
        None => {
            // The work may have ended this very moment, and then nobody listens.
            stop.send(()).ok();
            match tokio::time::timeout(STOPPING, ended).await {
                Ok(ended) => ended,
                Err(_) => return Limited::LeftBehind,
            }
        }
    };
    match ended {
        Ok(Some(result)) => Limited::Ended(result),
        Ok(None) => Limited::Stopped,
        Err(_) => {
            let panic = thread
                .join()
                .expect_err("a thread that sent nothing has panicked");
            std::panic::resume_unwind(panic)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Flag(Arc<AtomicBool>);

    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn work_that_waits_for_ever_is_dropped_at_its_limit() {
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Flag(dropped.clone());
        let limited = within(Some(Duration::from_millis(20)), || async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        });
        assert!(matches!(limited.await, Limited::Stopped));
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn work_that_ends_in_time_has_its_result() {
        for limit in [None, Some(Duration::from_secs(60))] {
            let limited = within(limit, || async { 7 });
            assert!(matches!(limited.await, Limited::Ended(7)));
        }
    }
}
