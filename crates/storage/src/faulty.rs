//! A store that fails as planned, for tests and simulations.
//!
//! It never lies about a write: an object is whole or not there. What it does to answers is what
//! disks and networks do.

mod plan;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_model::ErrorKind;

pub use self::plan::{Calls, Fault, FaultPlan, FaultRates};

use self::plan::CallFacts;
use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::op::Op;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// Wraps a store and lets calls fail by a [`FaultPlan`].
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    plan: FaultPlan,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    faults: u64,
    of_op: HashMap<Op, u64>,
    of_key: HashMap<(Op, String), u64>,
    /// The objects this store put, and at which call.
    puts: Vec<(u64, ObjectKey)>,
}

/// A fault that has been chosen for a call.
struct Fate {
    number: u64,
    fault: Option<Fault>,
    detail: u64,
}

impl<S: ObjectStore> FaultyStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            tally: Mutex::default(),
        }
    }

    /// Returns how many calls came so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.tally().calls
    }

    /// Returns how many calls met a fault. 0 at the end tells that a plan missed the work.
    pub fn faults(&self) -> u64 {
        self.tally().faults
    }

    /// Returns the store inside, free of faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no holder panics")
    }

    /// Counts a call and decides its fate; fails if the call must not reach the store.
    fn enter(&self, op: Op, key: &str) -> Result<Fate, StoreError> {
        let mut tally = self.tally();
        let facts = tally.count(op, key);
        let fate = Fate {
            number: facts.number,
            fault: self.plan.decide(&facts),
            detail: self.plan.detail(&facts),
        };
        tally.faults += u64::from(fate.fault.is_some());
        match fate.fault {
            Some(Fault::Fail(kind)) => Err(self.error(op, key, kind, &fate)),
            _ => Ok(fate),
        }
    }

    /// Loses the reply of a call that did its work, if that is its fate.
    fn reply<T>(&self, op: Op, key: &str, fate: &Fate, value: T) -> Result<T, StoreError> {
        match fate.fault {
            Some(Fault::LoseReply) => Err(self.error(op, key, ErrorKind::Transient, fate)),
            _ => Ok(value),
        }
    }

    fn error(&self, op: Op, key: &str, kind: ErrorKind, fate: &Fate) -> StoreError {
        let why = match fate.fault {
            Some(Fault::LoseReply) => {
                format!("injected: the reply to call {} is lost", fate.number)
            }
            _ => format!("injected: call {} fails", fate.number),
        };
        StoreError::new(op.verb(), key, self.describe(), kind, why)
    }
}

impl Tally {
    fn count<'a>(&mut self, op: Op, key: &'a str) -> CallFacts<'a> {
        self.calls += 1;
        let of_op = self.of_op.entry(op).or_default();
        *of_op += 1;
        let of_key = self.of_key.entry((op, key.to_owned())).or_default();
        *of_key += 1;
        CallFacts {
            op,
            key,
            number: self.calls,
            number_of_op: *of_op,
            number_of_key: *of_key,
        }
    }

    fn put_since(&self, call: u64) -> HashSet<&ObjectKey> {
        let recent = self.puts.iter().filter(|(number, _)| *number >= call);
        recent.map(|(_, key)| key).collect()
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for FaultyStore<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let fate = self.enter(Op::Put, key.as_str())?;
        let put = self.inner.put(key, body).await?;
        if put == Put::Created {
            self.tally().puts.push((fate.number, key.clone()));
        }
        self.reply(Op::Put, key.as_str(), &fate, put)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let fate = self.enter(Op::Get, key.as_str())?;
        let body = self.inner.get(key).await?;
        self.reply(Op::Get, key.as_str(), &fate, fate.damage(body))
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let fate = self.enter(Op::GetRange, key.as_str())?;
        let body = self.inner.get_range(key, range).await?;
        self.reply(Op::GetRange, key.as_str(), &fate, fate.damage(body))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let fate = self.enter(Op::Head, key.as_str())?;
        let meta = self.inner.head(key).await?;
        self.reply(Op::Head, key.as_str(), &fate, meta)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let fate = self.enter(Op::List, prefix)?;
        let mut metas = self.inner.list(prefix).await?;
        if let Some(Fault::StaleList { calls }) = fate.fault {
            let tally = self.tally();
            let unseen = tally.put_since(fate.number.saturating_sub(calls));
            metas.retain(|meta| !unseen.contains(&meta.key));
        }
        self.reply(Op::List, prefix, &fate, metas)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let fate = self.enter(Op::Delete, key.as_str())?;
        self.inner.delete(key).await?;
        self.reply(Op::Delete, key.as_str(), &fate, ())
    }

    async fn location(&self) -> Result<Option<String>, StoreError> {
        self.inner.location().await
    }

    async fn protect(&self, keys: &[ObjectKey]) -> Result<u64, StoreError> {
        self.inner.protect(keys).await
    }
}

impl Fate {
    /// Cuts or changes an answer, if that is the call's fate. An empty one has nothing to lose.
    fn damage(&self, body: Bytes) -> Bytes {
        if body.is_empty() {
            return body;
        }
        let pick = |choices: usize| {
            let index = self.detail % (choices as u64);
            usize::try_from(index).expect("it is less than a usize")
        };
        match self.fault {
            Some(Fault::Truncate) => body.slice(..pick(body.len())),
            Some(Fault::FlipBit) => {
                let bit = pick(body.len().saturating_mul(8));
                let mut body = body.to_vec();
                body[bit / 8] ^= 1 << (bit % 8);
                body.into()
            }
            _ => body,
        }
    }
}
