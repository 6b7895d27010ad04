//! A store that writes down its calls, for tests that check their order.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::op::Op;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// A call that was made.
///
/// `started` and `ended` are ticks of one counter, so calls that overlap can be told from calls
/// that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub op: Op,
    /// The object's key, or the prefix of a `list`.
    pub key: String,
    /// The bytes that went to the store (`put`) or came from it (`get`, `get_range`), and the
    /// number of objects for a `list`; else 0, and 0 for a read that failed.
    pub size: u64,
    /// When it began.
    pub started: u64,
    /// When it returned, or `None` if it is under way or was dropped.
    pub ended: Option<u64>,
    /// Whether it returned without an error.
    pub succeeded: bool,
}

impl Call {
    /// Tells whether this call succeeded before the other began.
    pub fn precedes(&self, later: &Call) -> bool {
        self.succeeded && self.ended.is_some_and(|ended| ended < later.started)
    }
}

/// Wraps a store and keeps a list of the calls.
#[derive(Debug)]
pub struct RecordedStore<S> {
    inner: S,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    ticks: u64,
    calls: Vec<Call>,
}

impl Record {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

impl<S: ObjectStore> RecordedStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            record: Mutex::default(),
        }
    }

    /// Returns the calls so far, in the order they began.
    pub fn calls(&self) -> Vec<Call> {
        self.record().calls.clone()
    }

    /// Returns the `put` and `delete` calls so far, in the order they began.
    pub fn writes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.op.is_write());
        calls
    }

    /// Returns the store inside, whose calls are not recorded.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no holder panics")
    }

    fn start(&self, op: Op, key: &str, size: usize) -> usize {
        let mut record = self.record();
        let started = record.tick();
        record.calls.push(Call {
            op,
            key: key.to_owned(),
            size: size as u64,
            started,
            ended: None,
            succeeded: false,
        });
        record.calls.len() - 1
    }

    fn end<T>(&self, call: usize, result: &Result<T, StoreError>, read: impl Fn(&T) -> usize) {
        let mut record = self.record();
        let ended = record.tick();
        let call = &mut record.calls[call];
        call.ended = Some(ended);
        call.succeeded = result.is_ok();
        call.size += result.as_ref().map_or(0, read) as u64;
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for RecordedStore<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<Put, StoreError> {
        let call = self.start(Op::Put, key.as_str(), body.len());
        let result = self.inner.put(key, body).await;
        self.end(call, &result, |_| 0);
        result
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let call = self.start(Op::Get, key.as_str(), 0);
        let result = self.inner.get(key).await;
        self.end(call, &result, Bytes::len);
        result
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let call = self.start(Op::GetRange, key.as_str(), 0);
        let result = self.inner.get_range(key, range).await;
        self.end(call, &result, Bytes::len);
        result
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let call = self.start(Op::Head, key.as_str(), 0);
        let result = self.inner.head(key).await;
        self.end(call, &result, |_| 0);
        result
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let call = self.start(Op::List, prefix, 0);
        let result = self.inner.list(prefix).await;
        self.end(call, &result, Vec::len);
        result
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let call = self.start(Op::Delete, key.as_str(), 0);
        let result = self.inner.delete(key).await;
        self.end(call, &result, |()| 0);
        result
    }

    async fn location(&self) -> Result<Option<String>, StoreError> {
        self.inner.location().await
    }

    async fn protect(&self, keys: &[ObjectKey]) -> Result<u64, StoreError> {
        self.inner.protect(keys).await
    }
}
