//! A bound on the memory that bytes in flight may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: u64 = 1024;

/// A budget of memory. Take from it before a read, hold until the bytes are stored.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    kib: Arc<Semaphore>,
    total_kib: u32,
}

/// A part of a [`MemoryBudget`], given back on drop.
#[derive(Debug)]
pub struct BudgetPermit {
    permit: OwnedSemaphorePermit,
}

impl BudgetPermit {
    /// Joins `other` to this permit, so that both are given back together.
    pub fn merge(&mut self, other: BudgetPermit) {
        self.permit.merge(other.permit);
    }
}

impl MemoryBudget {
    /// Makes a budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let total_kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX).max(1);
        let permits = (total_kib as usize).min(Semaphore::MAX_PERMITS);
        Self {
            kib: Arc::new(Semaphore::new(permits)),
            total_kib,
        }
    }

    /// Waits until `bytes` are free and takes them.
    ///
    /// A request beyond the whole budget takes all of it, so that one huge item is slow, not stuck.
    pub async fn take(&self, bytes: u64) -> BudgetPermit {
        let kib = u32::try_from(bytes.div_ceil(KIB))
            .unwrap_or(u32::MAX)
            .clamp(1, self.total_kib);
        let semaphore = self.kib.clone();
        let permit = semaphore
            .acquire_many_owned(kib)
            .await
            .expect("the budget is never closed");
        BudgetPermit { permit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_item_larger_than_the_budget_waits_for_all_of_it_and_passes() {
        let budget = MemoryBudget::new(64 * KIB);
        let small = budget.take(KIB).await;
        let mut huge = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(u64::MAX).await }
        });
        tokio::task::yield_now().await;
        assert!(!huge.is_finished());
        drop(small);
        let held = (&mut huge).await.unwrap();
        assert_eq!(budget.kib.available_permits(), 0);
        drop(held);
        assert_eq!(budget.kib.available_permits(), 64);
    }
}
