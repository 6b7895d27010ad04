//! Trying again what the SDK does not: bodies that break off, and puts that met another.

use std::time::Duration;

use lifeboat_model::ErrorKind;

use crate::failure::Failure;

/// Attempts at one call, each of several requests at most.
const ATTEMPTS: u32 = 5;
/// The first pause; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Carries out `work`, again if it fails for a passing reason.
pub(crate) async fn retried<T, F>(work: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match work().await {
            Err(failure) if failure.kind == ErrorKind::Transient => {
                tracing::debug!(%failure, "trying again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    work().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passing_faults_are_tried_again_and_not_for_ever() {
        let calls = Cell::new(0);
        let outcome: Result<(), _> = retried(|| async {
            calls.set(calls.get() + 1);
            Err(Failure::found(ErrorKind::Transient, "busy"))
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(calls.get(), ATTEMPTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        let calls = Cell::new(0);
        let outcome: Result<(), _> = retried(|| async {
            calls.set(calls.get() + 1);
            Err(Failure::found(ErrorKind::Denied, "no"))
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(calls.get(), 1);
    }
}
