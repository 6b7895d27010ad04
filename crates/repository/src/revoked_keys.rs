//! What copying objects to another region has to know of revoked keys.
//!
//! Deletions are never copied, so a key object that one region has lost could come back from another.
//! Revocations are copied instead, before any key, and a key that either region has revoked is not
//! copied at all.

use std::collections::BTreeSet;

use lifeboat_storage::{ObjectKey, ObjectStore};

use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::revocation::Revocations;

/// What to do about keys when objects are copied.
pub(crate) struct RevokedKeys {
    /// Key objects at the source that must not be copied.
    pub(crate) left_out: BTreeSet<ObjectKey>,
    /// Revocations of keys at the source that only the target knows.
    pub(crate) missed_here: Vec<ObjectKey>,
}

impl RevokedKeys {
    /// Compares what the two stores say. Needs no key.
    pub(crate) async fn between(
        from: &dyn ObjectStore,
        to: &dyn ObjectStore,
    ) -> Result<Self, RepositoryError> {
        let here = Revocations::of(from).await?;
        let there = Revocations::of(to).await?;
        let mut found = Self {
            left_out: BTreeSet::new(),
            missed_here: Vec::new(),
        };
        for key in Repository::keys_in(from).await? {
            // What cannot be read opens nothing; it is copied as it is, and verification tells.
            let Ok(info) = &key.label else { continue };
            let known_there = there.object_for(info);
            if here.revokes(info) || known_there.is_some() {
                found.left_out.insert(key.object);
            }
            if !here.revokes(info) {
                found.missed_here.extend(known_there);
            }
        }
        Ok(found)
    }
}
