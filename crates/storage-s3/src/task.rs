//! Requests as tasks of their own.
//!
//! Who has many requests under way waits for them in one task, so that signing, hashing and reading
//! their bodies would share one thread, with every body handed from thread to thread on its way.

use std::panic::resume_unwind;

use lifeboat_model::ErrorKind;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// Carries out `work` on any thread of the runtime. Dropped, it ends the work at its next wait.
pub(crate) async fn as_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let mut task = EndOnDrop(tokio::spawn(work));
    match (&mut task.0).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down, and may wait for the thread that waits here.
            Err(_) => Err(Failure::found(ErrorKind::Failed, "the program ends")),
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
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_runtime_that_shuts_down_waits_for_nobody_who_waits_for_a_task() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let (begun, begins) = std::sync::mpsc::channel();
        runtime.spawn_blocking(move || {
            let work = async move {
                begun.send(()).unwrap();
                pending::<Result<(), Failure>>().await
            };
            handle.block_on(as_task(work)).unwrap_err()
        });
        begins.recv().unwrap();
        let (over, ends) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            over.send(()).unwrap();
        });
        ends.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends() {
        let held = Arc::new(());
        let also = held.clone();
        let mut work = Box::pin(as_task(async move {
            let _also = also;
            pending::<Result<(), Failure>>().await
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
        let work = async { panic!("as it was") };
        let _never: Result<(), Failure> = as_task(work).await;
    }
}
