//! The bridge between tokio, which waits, and rayon, which computes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Runs CPU work off the async threads.
///
/// A job is bytes to bytes: no lock, no channel, no I/O inside, so that it can neither block the
/// pool nor care where it runs.
#[derive(Clone)]
pub struct ComputePool {
    threads: Option<Arc<rayon::ThreadPool>>,
}

impl ComputePool {
    /// Starts a pool of `threads` threads.
    ///
    /// # Errors
    /// Fails if the system refuses the threads.
    pub fn with_threads(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("compute-{n}"))
            .build()?;
        Ok(Self {
            threads: Some(Arc::new(pool)),
        })
    }

    /// Runs every job on the calling thread, at once: for simulations, where order must be fixed.
    pub const fn inline() -> Self {
        Self { threads: None }
    }

    /// Returns how many jobs can run at the same time.
    pub fn width(&self) -> usize {
        self.threads
            .as_ref()
            .map_or(1, |pool| pool.current_num_threads())
    }

    /// Starts `job` now and returns a future of its answer.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        match &self.threads {
            // A dropped receiver means nobody wants the answer any more.
            Some(pool) => pool.spawn(move || drop(sender.send(job()))),
            None => drop(sender.send(job())),
        }
        Answer(receiver)
    }

    /// Runs `job` inside the pool, so that rayon's parallel iterators in it use the pool's threads,
    /// and blocks until it is done. Not for async code.
    pub fn install<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        match &self.threads {
            Some(pool) => pool.install(job),
            None => job(),
        }
    }
}

/// The answer of a compute job, when it comes.
///
/// # Panics
/// Polling it panics if the job did: the fault belongs to whoever wrote the job.
#[derive(Debug)]
#[must_use = "the job runs anyway, but its answer is lost"]
pub struct Answer<T>(oneshot::Receiver<T>);

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.expect("a compute job does not panic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_answer_from_both_kinds_of_pool() {
        for pool in [ComputePool::inline(), ComputePool::with_threads(2).unwrap()] {
            let first = pool.run(|| 20);
            let second = pool.run(|| 22);
            assert_eq!(first.await + second.await, 42);
        }
    }
}
