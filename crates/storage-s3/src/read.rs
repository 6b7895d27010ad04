//! Reading: one request for a small object, several at once for the parts of a large one.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lifeboat_model::ErrorKind;
use lifeboat_storage::ObjectKey;

use crate::failure::{Action, Failure};
use crate::retry::retried;
use crate::store::S3Store;
use crate::task::as_task;

/// What one request reads at most, bytes.
const PART: u64 = 8 << 20;
/// Requests for parts of one object at the same time.
const PARTS_AT_ONCE: usize = 4;

/// Which bytes of which state of an object to read.
#[derive(Debug, Clone)]
struct Wanted {
    key: String,
    version: Option<String>,
    /// The entity tag that the object must have, so that all parts are of one object.
    etag: Option<String>,
    range: Range<u64>,
}

/// What a request brought.
struct Part {
    bytes: Bytes,
    /// The whole object's length.
    total: u64,
    etag: Option<String>,
}

impl S3Store {
    pub(crate) async fn get_whole(&self, key: &ObjectKey) -> Result<Bytes, Failure> {
        let first = Wanted {
            key: self.full(key.as_str()),
            version: self.first_version(key).await?,
            etag: None,
            range: 0..PART,
        };
        let part = match retried(|| self.fetch(&first)).await {
            Ok(part) => part,
            // No range of an empty object can be satisfied.
            Err(failure) if failure.is_range() => return Ok(Bytes::new()),
            Err(failure) => return Err(failure),
        };
        if part.bytes.len() as u64 == part.total {
            return Ok(part.bytes);
        }
        let whole = Wanted {
            etag: part.etag,
            range: part.bytes.len() as u64..part.total,
            ..first
        };
        self.join(part.bytes, &whole).await
    }

    pub(crate) async fn get_exactly(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        if range.is_empty() {
            return self.check_empty(key, &range).await;
        }
        // A range that could not be held is past every object's end.
        if i64::try_from(range.end).is_err() {
            return Err(past_end(&range));
        }
        let first = Wanted {
            key: self.full(key.as_str()),
            version: self.first_version(key).await?,
            etag: None,
            range: range.start..range.end.min(range.start.saturating_add(PART)),
        };
        let part = retried(|| self.fetch(&first)).await?;
        if range.end > part.total {
            return Err(past_end(&range));
        }
        if first.range.end == range.end {
            return Ok(part.bytes);
        }
        let rest = Wanted {
            etag: part.etag,
            range: first.range.end..range.end,
            ..first
        };
        self.join(part.bytes, &rest).await
    }

    /// Answers for no bytes at all, which S3 cannot be asked for.
    async fn check_empty(&self, key: &ObjectKey, range: &Range<u64>) -> Result<Bytes, Failure> {
        let head = retried(|| async {
            let request = self.client().await.head_object().bucket(self.bucket());
            let request = request.key(self.full(key.as_str()));
            let head = request.send().await;
            head.map_err(|error| Failure::of(&error, Action("s3:GetObject")))
        })
        .await?;
        let size = head
            .content_length()
            .and_then(|size| u64::try_from(size).ok());
        match range.start == range.end && size.is_some_and(|size| range.end <= size) {
            true => Ok(Bytes::new()),
            false => Err(past_end(range)),
        }
    }

    /// Reads the parts of `rest` at the same time and puts them behind `head`.
    async fn join(&self, head: Bytes, rest: &Wanted) -> Result<Bytes, Failure> {
        let length = |bytes: u64| {
            usize::try_from(bytes)
                .map_err(|_| Failure::found(ErrorKind::Failed, "it does not fit into memory"))
        };
        let mut whole = BytesMut::zeroed(head.len() + length(rest.range.end - rest.range.start)?);
        let mut unfilled = whole.split_off(head.len());
        whole.copy_from_slice(&head);
        drop(head);
        let mut reads = Vec::new();
        for start in (rest.range.start..rest.range.end).step_by(length(PART)?) {
            let range = start..rest.range.end.min(start + PART);
            let place = unfilled.split_to(length(range.end - range.start)?);
            let wanted = Wanted {
                range,
                ..rest.clone()
            };
            reads.push(self.fill(wanted, place));
        }
        let mut filled = stream::iter(reads).buffered(PARTS_AT_ONCE);
        while let Some(part) = filled.try_next().await? {
            // They are neighbours in one allocation, so nothing is copied.
            whole.unsplit(part);
        }
        Ok(whole.freeze())
    }

    async fn fill(&self, wanted: Wanted, mut place: BytesMut) -> Result<BytesMut, Failure> {
        let part = retried(|| self.fetch(&wanted)).await?;
        if part.bytes.len() != place.len() {
            let what = "it became shorter while it was read";
            return Err(Failure::found(ErrorKind::Corrupt, what));
        }
        place.copy_from_slice(&part.bytes);
        Ok(place)
    }

    /// Reads one range, or as much of it as there is.
    async fn fetch(&self, wanted: &Wanted) -> Result<Part, Failure> {
        let Range { start, end } = wanted.range;
        let request = self.client().await.get_object().bucket(self.bucket());
        let request = request
            .key(&wanted.key)
            .range(format!("bytes={start}-{}", end - 1));
        let request = request.set_version_id(wanted.version.clone());
        let request = request.set_if_match(wanted.etag.clone());
        let (bytes, told, etag) = as_task(async move {
            let sent = request.send().await;
            let output = sent.map_err(|error| Failure::of(&error, Action("s3:GetObject")))?;
            let told = output.content_range().and_then(total_of);
            let etag = output.e_tag().map(str::to_owned);
            let body = output.body.collect().await;
            let body = body.map_err(|error| Failure::broken_body(&error))?;
            Ok((body.into_bytes(), told, etag))
        })
        .await?;
        // A store that ignores ranges sends everything.
        let total = told.unwrap_or(bytes.len() as u64);
        let expected = total.min(end).saturating_sub(start);
        if told.is_some() && bytes.len() as u64 != expected {
            let why = format!("{} of {expected} bytes came", bytes.len());
            return Err(Failure::found(ErrorKind::Transient, why));
        }
        Ok(Part { bytes, total, etag })
    }
}

/// Reads the length in `bytes 0-99/1000`.
fn total_of(range: &str) -> Option<u64> {
    range.rsplit('/').next()?.parse().ok()
}

fn past_end(range: &Range<u64>) -> Failure {
    let Range { start, end } = range;
    let what = format!("bytes {start}..{end} were asked for, and it ends before");
    Failure::found(ErrorKind::Corrupt, what)
}
