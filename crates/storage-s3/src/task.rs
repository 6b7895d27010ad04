//! Requests as tasks of their own.
//!
//! Who has many requests under way waits for them in one task, so that signing, hashing and reading
//! their bodies would share one thread, with every body handed from thread to thread on its way.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::JoinHandle;

/// Carries out `work` on any thread of the runtime. Dropped, it ends the work at its next wait.
pub(crate) async fn as_task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = EndOnDrop(tokio::spawn(work));
    match (&mut task.0).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Only a runtime that shuts down ends it, and with it whoever waits here.
            Err(_) => pending().await,
        },
    }
}

struct EndOnDrop<T>(JoinHandle<T>);

impl<T> Drop for EndOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends() {
        let held = Arc::new(());
        let also = held.clone();
        let mut work = Box::pin(as_task(async move {
            let _also = also;
            pending::<()>().await;
        }));
        assert!(futures::poll!(&mut work).is_pending());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(work);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        as_task(async { panic!("as it was") }).await;
    }
}
