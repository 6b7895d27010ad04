//! The write-ahead log in a repository: put, listed, read, put together.

#![expect(
    clippy::single_range_in_vec_init,
    reason = "a list of pieces may have one"
)]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_model::{
    Diagnose as _, ErrorKind, Segment, SegmentSize, SystemId, WalFileName, WalObject,
};
use lifeboat_repository::{
    Repository, RepositoryError, Role, WalDraft, WalListing, WalPlace, WalPut,
};
use lifeboat_storage::{MemoryStore, ObjectStore};

use crate::support::{Bench, noise};

pub(crate) const SIZE: SegmentSize = SegmentSize::new(1 << 20).unwrap();

pub(crate) fn place() -> WalPlace {
    WalPlace {
        environment: "prod".parse().unwrap(),
        source: "shop".parse().unwrap(),
        system: SystemId::new(7),
    }
}

pub(crate) fn segment(number: u64) -> Segment {
    Segment::numbered(lifeboat_model::Timeline::new(1), number, SIZE)
}

pub(crate) fn draft(number: u64, piece: Option<Range<u32>>) -> WalDraft {
    WalDraft {
        file: WalFileName::Segment(segment(number)),
        piece,
        newest_commit: Some("2026-11-21T00:00:00.5Z".parse().unwrap()),
    }
}

/// A segment that was switched early: its last quarter is zeros.
pub(crate) fn content(number: u64) -> Vec<u8> {
    let mut bytes = noise(number, (SIZE.bytes() as usize) / 4 * 3);
    bytes.resize(SIZE.bytes() as usize, 0);
    bytes
}

pub(crate) async fn put(
    repository: &Repository,
    draft: &WalDraft,
    bytes: impl Into<Bytes>,
) -> Result<WalPut, RepositoryError> {
    let store = &**repository.store();
    let known = Repository::wal_listing_beside(store, &place(), draft.file).await?;
    repository
        .put_wal(&place(), draft, bytes.into(), &known)
        .await
}

async fn listing(store: &dyn ObjectStore) -> WalListing {
    Repository::wal_listing(store, &place()).await.unwrap()
}

async fn put_pieces(bench: &Bench, number: u64, pieces: &[Range<u32>]) {
    let writer = bench.open(Role::Writer).await.unwrap();
    for piece in pieces {
        let bytes = content(number)[piece.start as usize..piece.end as usize].to_vec();
        put(&writer, &draft(number, Some(piece.clone())), bytes)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_a_writer_puts_a_reader_gets_and_nobody_else() {
    let bench = Bench::in_memory().await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let mut objects = Vec::new();
    for (file, bytes) in [
        ("000000010000000000000001", content(1)),
        ("000000010000000000000002", vec![0; SIZE.bytes() as usize]),
        ("000000010000000000000003", noise(3, SIZE.bytes() as usize)),
        ("000000010000000000000003.partial", content(4)),
        (
            "000000010000000000000001.00000028.backup",
            b"START".to_vec(),
        ),
        (
            "00000002.history",
            b"1\t0/3000000\tno recovery target".to_vec(),
        ),
        ("00000003.history", Vec::new()),
    ] {
        let file = file.parse().unwrap();
        let draft = WalDraft {
            file,
            ..draft(1, None)
        };
        match put(&writer, &draft, bytes.clone()).await.unwrap() {
            WalPut::Stored(object) => objects.push((object, bytes)),
            WalPut::AlreadyThere(_) => panic!("{file} was not there"),
        }
    }
    let listed = listing(&*bench.store).await;
    let mut put: Vec<WalObject> = objects.iter().map(|(object, _)| object.clone()).collect();
    put.sort_by_key(WalObject::order);
    assert_eq!(listed.objects(), put);
    let reader = bench.open(Role::Reader).await.unwrap();
    for (object, bytes) in &objects {
        assert!(
            reader.get_wal(&place(), object).await.unwrap() == *bytes,
            "{}",
            object.file
        );
        let refused = writer.get_wal(&place(), object).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WrongKey);
    }
    let branches: Vec<_> = listed.branches().collect();
    let (timeline, branch) = branches[0];
    assert_eq!(
        (timeline.get(), branch.parent.get(), branch.at.get()),
        (2, 1, 0x300_0000)
    );
    assert_eq!(branches.len(), 1, "an empty history tells nothing");
    let zeros = &objects[1].0;
    assert!(zeros.stored_len < 200, "zeros at the end take no room");
    let auditor = bench.open(Role::Auditor).await.unwrap();
    let refused = auditor
        .seal_wal(&place(), &draft(9, None), content(9).into())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::WrongKey);
}

#[tokio::test]
async fn the_same_content_is_there_already_and_other_content_is_refused_with_both_named() {
    let bench = Bench::in_memory().await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let WalPut::Stored(first) = put(&writer, &draft(1, None), content(1)).await.unwrap() else {
        panic!("it was not there");
    };
    let again = put(&writer, &draft(1, None), content(1)).await.unwrap();
    assert_eq!(again, WalPut::AlreadyThere(first.clone()));
    let refused = put(&writer, &draft(1, None), content(2)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    let RepositoryError::WalConflict {
        stored,
        theirs,
        ours,
        ..
    } = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!(*stored, place().key(&first).to_string());
    assert_eq!(
        (*theirs, *ours),
        (
            first.content,
            writer.wal_content(&content(2).into()).await.unwrap()
        )
    );
    // A put that did not see the other: both are there, and a listing and a restore say so.
    let blind = WalListing::default();
    writer
        .put_wal(&place(), &draft(1, None), content(2).into(), &blind)
        .await
        .unwrap();
    let listed = listing(&*bench.store).await;
    assert_eq!(listed.conflicts().len(), 1);
    let reader = bench.open(Role::Reader).await.unwrap();
    let refused = reader
        .assemble_segment(&place(), segment(1), SIZE)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    // The same content under another sealing contradicts nothing.
    writer
        .put_wal(&place(), &draft(2, None), content(2).into(), &blind)
        .await
        .unwrap();
    writer
        .put_wal(&place(), &draft(2, None), content(2).into(), &blind)
        .await
        .unwrap();
    assert_eq!(listing(&*bench.store).await.conflicts().len(), 1);
    let assembled = reader
        .assemble_segment(&place(), segment(2), SIZE)
        .await
        .unwrap()
        .unwrap();
    assert!(assembled.whole && assembled.bytes == content(2));
}

#[tokio::test]
async fn bytes_that_cannot_be_what_the_draft_says_are_refused() {
    let bench = Bench::in_memory().await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let history = WalDraft {
        file: "00000002.history".parse().unwrap(),
        ..draft(1, None)
    };
    for (draft, len) in [
        (draft(1, None), 4096),
        (draft(1, None), 0),
        (draft(1, Some(0..8192)), 4096),
        (
            WalDraft {
                piece: Some(0..5),
                ..history.clone()
            },
            5,
        ),
        (history, 2 << 20),
    ] {
        let refused = put(&writer, &draft, vec![1; len]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage, "{refused}");
    }
    assert_eq!(bench.store.list("wal/").await.unwrap(), []);
}

#[tokio::test]
async fn sealed_once_it_goes_into_every_region_as_the_same_object() {
    let bench = Bench::in_memory().await;
    let replica = MemoryStore::new("replica");
    let writer = bench.open(Role::Writer).await.unwrap();
    let sealed = writer
        .seal_wal(&place(), &draft(1, None), content(1).into())
        .await
        .unwrap();
    let none = WalListing::default();
    let WalPlace {
        environment,
        source,
        ..
    } = place();
    for store in [&*bench.store, &replica] {
        let put = sealed.put(store, &none).await.unwrap();
        assert_eq!(put, WalPut::Stored(sealed.object().clone()));
        let systems = Repository::wal_systems(store, &environment, &source);
        assert_eq!(systems.await.unwrap(), [SystemId::new(7)]);
    }
    assert_eq!(
        bench.store.list("wal/").await.unwrap(),
        replica.list("wal/").await.unwrap()
    );
}

#[tokio::test]
async fn pieces_make_up_a_segment_as_far_as_they_follow_each_other() {
    let bench = Bench::in_memory().await;
    let reader = bench.open(Role::Reader).await.unwrap();
    let assemble = async |number| {
        reader
            .assemble_segment(&place(), segment(number), SIZE)
            .await
            .unwrap()
    };
    assert_eq!(assemble(1).await, None);
    put_pieces(&bench, 1, &[5000..9000]).await;
    assert_eq!(assemble(1).await, None, "nothing of its beginning is there");
    put_pieces(&bench, 1, &[0..4000, 3000..6000, 20_000..30_000]).await;
    let part = assemble(1).await.unwrap();
    assert_eq!((part.end, part.whole), (9000, false));
    let mut wanted = content(1)[..9000].to_vec();
    wanted.resize(SIZE.bytes() as usize, 0);
    assert!(part.bytes == wanted);
    let writer = bench.open(Role::Writer).await.unwrap();
    put(&writer, &draft(1, None), content(1)).await.unwrap();
    let whole = assemble(1).await.unwrap();
    assert!(whole.whole && whole.end == SIZE.bytes() && whole.bytes == content(1));
}

#[tokio::test]
async fn a_piece_that_contradicts_the_one_before_it_is_never_joined() {
    let bench = Bench::in_memory().await;
    put_pieces(&bench, 1, &[0..4000]).await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let other = content(2)[3000..6000].to_vec();
    put(&writer, &draft(1, Some(3000..6000)), other)
        .await
        .unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    let refused = reader
        .assemble_segment(&place(), segment(1), SIZE)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_damaged_object_is_replaced_by_others_that_hold_its_bytes_or_told_of() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    let half = SIZE.bytes() / 2;
    put_pieces(&bench, 1, &[0..half, half..SIZE.bytes()]).await;
    let writer = bench.open(Role::Writer).await.unwrap();
    let WalPut::Stored(whole) = put(&writer, &draft(1, None), content(1)).await.unwrap() else {
        panic!("it was not there");
    };
    let reader = bench.open(Role::Reader).await.unwrap();
    memory.tamper(&place().key(&whole), Bytes::from_static(b"no segment"));
    let joined = reader
        .assemble_segment(&place(), segment(1), SIZE)
        .await
        .unwrap()
        .unwrap();
    assert!(!joined.whole && joined.bytes == content(1));
    let objects = listing(&*memory).await.objects().to_vec();
    let last = objects
        .iter()
        .find(|object| object.piece == Some(half..SIZE.bytes()))
        .unwrap();
    memory.tamper(&place().key(last), Bytes::from_static(b"no piece"));
    let refused = reader
        .assemble_segment(&place(), segment(1), SIZE)
        .await
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Corrupt,
        "it would end early without a word"
    );
}

#[tokio::test]
async fn an_object_opens_only_whole_unchanged_and_under_its_own_name() {
    let memory = Arc::new(MemoryStore::new("home"));
    let bench = Bench::create(memory.clone(), memory.clone()).await;
    put_pieces(&bench, 1, &[0..300]).await;
    let object = listing(&*memory).await.objects()[0].clone();
    let good = memory.get(&place().key(&object)).await.unwrap();
    let reader = bench.open(Role::Reader).await.unwrap();
    // Whoever can write can give changed bytes the name that fits them.
    let open = async |object: &WalObject, bytes: Bytes| {
        let hash = lifeboat_model::WalHash::from_bytes(*blake3::hash(&bytes).as_bytes());
        let named = WalObject {
            hash,
            ..object.clone()
        };
        memory.tamper(&place().key(&named), bytes);
        reader
            .get_wal(&place(), &named)
            .await
            .map_err(|error| error.kind())
    };
    assert_eq!(
        open(&object, good.clone()).await.unwrap(),
        content(1)[..300]
    );
    for at in 0..good.len() {
        let mut flipped = good.to_vec();
        flipped[at] ^= 0x10;
        let opened = open(&object, flipped.into()).await;
        // A version of the future is told apart from damage.
        let wanted = if at == 8 {
            ErrorKind::Failed
        } else {
            ErrorKind::Corrupt
        };
        assert_eq!(opened, Err(wanted), "byte {at}");
    }
    for cut in 0..good.len() {
        assert_eq!(
            open(&object, good.slice(..cut)).await,
            Err(ErrorKind::Corrupt),
            "cut at {cut}"
        );
    }
    for renamed in [
        WalObject {
            file: WalFileName::Segment(segment(2)),
            ..object.clone()
        },
        WalObject {
            piece: Some(300..600),
            ..object.clone()
        },
        WalObject {
            newest_commit: None,
            ..object.clone()
        },
    ] {
        assert_eq!(open(&renamed, good.clone()).await, Err(ErrorKind::Corrupt));
    }
}
