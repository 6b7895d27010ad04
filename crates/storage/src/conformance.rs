//! The promises of [`ObjectStore`], checked against a store. For tests.
//!
//! Everything happens under `conformance/`, where nothing may be before, and is deleted at the end.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;
use lifeboat_model::{Diagnose, ErrorKind};

use crate::error::StoreError;
use crate::key::ObjectKey;
use crate::store::{ObjectMeta, ObjectStore, Put};

/// A store did not keep a promise.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It answered, and the answer is wrong.
    #[error("the store broke a promise: {0}")]
    Promise(String),
    /// It could not answer.
    #[error("the store failed where it must not")]
    Failed(#[from] StoreError),
}

const PREFIX: &str = "conformance/";
const RACERS: u8 = 16;
const LARGE: usize = 8 << 20;

/// Checks every promise.
///
/// # Errors
/// Returns the first promise that was broken.
pub async fn check(store: &dyn ObjectStore) -> Result<(), Broken> {
    begins_empty(store).await?;
    keeps_bytes(store).await?;
    reads_ranges(store).await?;
    misses_what_is_not_there(store).await?;
    never_replaces(store).await?;
    lets_one_racer_win(store).await?;
    lists_in_order(store).await?;
    deletes(store).await?;
    clear(store).await
}

async fn begins_empty(store: &dyn ObjectStore) -> Result<(), Broken> {
    let found = store.list(PREFIX).await?;
    expect(found.is_empty(), || {
        format!("`{PREFIX}` must be empty at the start, and lists {found:?}")
    })
}

/// Checks that what is put comes back, whatever its size and the length of its key.
///
/// # Errors
/// Fails if it does not.
pub async fn keeps_bytes(store: &dyn ObjectStore) -> Result<(), Broken> {
    let long_part = format!("bytes/{}", "n".repeat(255));
    let long_whole = format!("bytes/{}-._Zz9", "deep/".repeat(120));
    for (name, size) in [
        ("bytes/none", 0),
        ("bytes/one", 1),
        ("bytes/large", LARGE),
        (&long_part, 1000),
        (&long_whole, 1000),
    ] {
        let (key, body) = (key(name), pattern(size, 7));
        let put = store.put(&key, body.clone()).await?;
        expect(put == Put::Created, || {
            format!("a first put of `{key}` answered {put:?}")
        })?;
        let got = store.get(&key).await?;
        expect(got == body, || {
            format!(
                "`{key}` was put with {size} bytes and comes back as {} others",
                got.len()
            )
        })?;
        let meta = Some(meta(&key, size));
        let head = store.head(&key).await?;
        expect(head == meta, || {
            format!("`{key}` has head {head:?}, not {meta:?}")
        })?;
    }
    Ok(())
}

/// Checks that ranges are exact and that one past the end is `Corrupt`.
///
/// # Errors
/// Fails if they are not.
pub async fn reads_ranges(store: &dyn ObjectStore) -> Result<(), Broken> {
    let (key, body) = (key("ranges/thousand"), pattern(1000, 3));
    store.put(&key, body.clone()).await?;
    for (start, end) in [
        (0, 1000),
        (0, 1),
        (999, 1000),
        (1, 999),
        (500, 500),
        (1000, 1000),
    ] {
        let got = store.get_range(&key, start..end).await?;
        let wanted = body.slice(start as usize..end as usize);
        expect(got == wanted, || {
            format!("bytes {start}..{end} of `{key}` are wrong")
        })?;
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is the case to refuse")]
    let bad = [
        0..1001,
        999..1001,
        1001..1002,
        1001..1001,
        u64::MAX - 1..u64::MAX,
        0..u64::MAX,
        9..8,
    ];
    for range in bad {
        let what = format!("bytes {range:?} of `{key}`, which has 1000");
        let got = store.get_range(&key, range).await;
        expect_kind(got, ErrorKind::Corrupt, &what)?;
    }
    Ok(())
}

/// Checks what a store says of an object that is not there, next to ones that are.
///
/// # Errors
/// Fails if it says anything else than that.
pub async fn misses_what_is_not_there(store: &dyn ObjectStore) -> Result<(), Broken> {
    store.put(&key("missing/there/one"), pattern(10, 1)).await?;
    // The second and third are neighbours and a folder of the one that is there.
    for name in [
        "missing/gone",
        "missing/there/on",
        "missing/there",
        "nowhere/at/all",
    ] {
        let key = key(name);
        let what = format!("`{key}`, which is not there");
        expect_kind(store.get(&key).await, ErrorKind::NotFound, &what)?;
        expect_kind(
            store.get_range(&key, 0..1).await,
            ErrorKind::NotFound,
            &what,
        )?;
        let head = store.head(&key).await?;
        expect(head.is_none(), || format!("{what} has head {head:?}"))?;
        store.delete(&key).await?;
    }
    store.get(&key("missing/there/one")).await?;
    Ok(())
}

/// Checks that a second put leaves the object as it is.
///
/// # Errors
/// Fails if it does not.
pub async fn never_replaces(store: &dyn ObjectStore) -> Result<(), Broken> {
    let (key, first) = (key("once"), pattern(100, 1));
    store.put(&key, first.clone()).await?;
    for second in [pattern(100, 2), pattern(5, 2), Bytes::new(), first.clone()] {
        let put = store.put(&key, second).await?;
        expect(put == Put::AlreadyExists, || {
            format!("a second put answered {put:?}")
        })?;
        let got = store.get(&key).await?;
        expect(got == first, || {
            "a second put changed the object".to_owned()
        })?;
    }
    Ok(())
}

/// Checks that of many racing puts of one key exactly one wins, and that its bytes stay.
///
/// Stores without a conditional put fail this one.
///
/// # Errors
/// Fails if none or several win, or a loser's bytes are there.
pub async fn lets_one_racer_win(store: &dyn ObjectStore) -> Result<(), Broken> {
    for round in 0..4 {
        let key = key(&format!("race/{round}"));
        let body = |racer: u8| pattern(10_000 + usize::from(racer), racer);
        let puts = (0..RACERS).map(|racer| store.put(&key, body(racer)));
        let outcomes = join_all(puts)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let created = |put: &Put| *put == Put::Created;
        let winners = outcomes.iter().filter(|put| created(put)).count();
        expect(winners == 1, || {
            format!("{winners} of {RACERS} racing puts made the object")
        })?;
        let winner = outcomes.iter().position(created).unwrap_or_default();
        let got = store.get(&key).await?;
        expect(
            got == body(u8::try_from(winner).unwrap_or_default()),
            || format!("racer {winner} made the object, and its bytes are another's"),
        )?;
    }
    Ok(())
}

/// Checks that listings are complete, exact and sorted by key.
///
/// # Errors
/// Fails if one is not.
pub async fn lists_in_order(store: &dyn ObjectStore) -> Result<(), Broken> {
    // `-` and `.` sort before `/`: walking folder by folder gives another order.
    let names = [
        "list/b",
        "list/a/z",
        "list/a/b/c",
        "list/a-b",
        "list/a.b",
        "list/aa/x",
        "list/A",
    ];
    let mut wanted = Vec::new();
    for (size, name) in names.into_iter().enumerate() {
        store.put(&key(name), pattern(size, 9)).await?;
        wanted.push(meta(&key(name), size));
    }
    wanted.sort_by(|one, other| one.key.as_str().cmp(other.key.as_str()));
    for folder in [
        "list/",
        "list/a/",
        "list/a/b/",
        "list/aa/",
        "list/none/",
        "list/b/",
        "li/",
    ] {
        let prefix = format!("{PREFIX}{folder}");
        let mut under = wanted.clone();
        under.retain(|meta| meta.key.as_str().starts_with(&prefix));
        let found = store.list(&prefix).await?;
        expect(found == under, || {
            format!("`{prefix}` lists {found:?}, not {under:?}")
        })?;
    }
    let all = store.list("").await?;
    let sorted = all
        .windows(2)
        .all(|pair| pair[0].key.as_str() < pair[1].key.as_str());
    expect(sorted, || {
        format!("the whole listing is not sorted: {all:?}")
    })?;
    let keys: BTreeSet<_> = all.iter().map(|meta| &meta.key).collect();
    let complete = wanted.iter().all(|meta| keys.contains(&meta.key));
    expect(complete, || {
        format!("the whole listing lacks an object: {all:?}")
    })?;
    let what = "a listing of `conformance/list/a`, which is not a prefix";
    expect_kind(
        store.list("conformance/list/a").await,
        ErrorKind::Usage,
        what,
    )
}

/// Checks that what is deleted is gone, only that, and that its key can be used again.
///
/// # Errors
/// Fails if not.
pub async fn deletes(store: &dyn ObjectStore) -> Result<(), Broken> {
    let (gone, kept) = (key("delete/gone"), key("delete/gone.not"));
    store.put(&gone, pattern(10, 1)).await?;
    store.put(&kept, pattern(20, 1)).await?;
    for _ in 0..2 {
        store.delete(&gone).await?;
        expect_kind(
            store.get(&gone).await,
            ErrorKind::NotFound,
            "a deleted object",
        )?;
        let head = store.head(&gone).await?;
        expect(head.is_none(), || {
            format!("a deleted object has head {head:?}")
        })?;
        let found = store.list("conformance/delete/").await?;
        expect(found == [meta(&kept, 20)], || {
            format!("after a delete, {found:?} is listed")
        })?;
    }
    let put = store.put(&gone, pattern(30, 2)).await?;
    expect(put == Put::Created, || {
        format!("a put after a delete answered {put:?}")
    })?;
    let got = store.get(&gone).await?;
    expect(got == pattern(30, 2), || {
        "a deleted object's bytes came back".to_owned()
    })
}

async fn clear(store: &dyn ObjectStore) -> Result<(), Broken> {
    for meta in store.list(PREFIX).await? {
        store.delete(&meta.key).await?;
    }
    let left = store.list(PREFIX).await?;
    expect(left.is_empty(), || {
        format!("{left:?} is listed after all was deleted")
    })
}

fn expect(kept: bool, broken: impl FnOnce() -> String) -> Result<(), Broken> {
    if kept {
        Ok(())
    } else {
        Err(Broken::Promise(broken()))
    }
}

fn expect_kind<T>(got: Result<T, StoreError>, kind: ErrorKind, what: &str) -> Result<(), Broken> {
    match got {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Broken::Promise(format!(
            "{what} must be `{kind:?}`, and is `{:?}`: {error}",
            error.kind()
        ))),
        Ok(_) => Err(Broken::Promise(format!(
            "{what} must be `{kind:?}`, and is answered"
        ))),
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(format!("{PREFIX}{name}")).expect("the suite's names are keys")
}

fn meta(key: &ObjectKey, size: usize) -> ObjectMeta {
    ObjectMeta {
        key: key.clone(),
        size: size as u64,
    }
}

/// Returns bytes that differ from place to place and from seed to seed.
fn pattern(size: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]);
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}
