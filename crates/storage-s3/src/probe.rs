//! Finding out whether a store honours `If-None-Match` on puts.
//!
//! Some stores take the header and let the last writer win. They say nothing, so they are asked:
//! several writers race for one key. The key is the same for ever and is none that a repository can
//! use, so that nothing has to be deleted: all but the first race ever are lost by everybody.

use bytes::Bytes;
use futures::future::join_all;
use lifeboat_model::ErrorKind;

use crate::failure::Failure;
use crate::store::S3Store;

/// What a store does with a put on the condition that there is no such object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    /// One of several racing puts wins.
    Honoured,
    /// The condition is ignored or not understood. Puts look before and after, which tells of most
    /// races, not of all; nothing in a repository rests on them.
    Ignored,
}

/// `tmp/` begins no object key, so no listing shows it.
const KEY: &str = "tmp/conditional-put";
const RACERS: u8 = 4;

/// Asks the store.
pub(crate) async fn probe(store: &S3Store) -> Result<ConditionalPut, Failure> {
    let put = |racer: u8| async move {
        let body = Bytes::from(vec![b'0' + racer]);
        match store.put_if_absent_plain(KEY, body).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind == ErrorKind::AlreadyExists => Ok(false),
            Err(failure) => Err(failure),
        }
    };
    let outcomes = join_all((0..RACERS).map(put)).await;
    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Ok(won) => winners += u8::from(won),
            // A store may refuse the header it does not know.
            Err(failure) if failure.is_unsupported() => return Ok(ConditionalPut::Ignored),
            Err(failure) => return Err(failure),
        }
    }
    let honoured = winners <= 1;
    tracing::debug!(honoured, "probed conditional puts");
    Ok(match honoured {
        true => ConditionalPut::Honoured,
        false => ConditionalPut::Ignored,
    })
}
