//! Where the reception of a log begins, and where it goes on when the server's log does not lead on
//! from there.

use lifeboat_config::Cluster;
use lifeboat_model::{
    Lsn, Segment, SegmentSize, SystemId, Timeline, WalFileName, WalObject, error_chain,
};
use lifeboat_repository::{Repository, WalDraft};
use lifeboat_source_postgres::replication::{
    ReceiverOptions, ReceiverSlot, ReplicationError, SlotGuard, SlotKind, SystemIdentity,
    Unprotected, WalSender,
};
use lifeboat_source_postgres::wal::TimelineHistory;

use super::archive::Archive;
use crate::error::OperationError;

/// Returns how the log is received, from its beginning; makes the lasting slot that is wanted.
pub(super) async fn receiver_options(
    cluster: &Cluster,
    system: SystemId,
    sender: &mut WalSender,
) -> Result<ReceiverOptions, OperationError> {
    let mut options = ReceiverOptions::new(system, Timeline::new(1), Lsn::default());
    let Some(slot) = &cluster.slot else {
        return Ok(options);
    };
    let kept_max = slot.keep_bytes_max;
    options.slot = match &slot.name {
        None => ReceiverSlot::Temporary { kept_max },
        Some(name) => {
            let name = name.parse().map_err(|error| OperationError::Usage {
                message: format!("`{name}` is no name of a replication slot: {error}"),
                hint: "use lower-case letters, digits and underscores".to_owned(),
            })?;
            if sender.read_slot(&name).await?.is_none() {
                sender.create_slot(&name, SlotKind::Lasting).await?;
            }
            let guard = SlotGuard::Drop { kept_max };
            ReceiverSlot::Lasting { name, guard }
        }
    };
    Ok(options)
}

/// Tells why the server keeps nothing for a receiver, and what that may cost.
pub(super) fn warn_unprotected(why: &Unprotected) {
    let why = match why {
        Unprotected::Refused(error) => error_chain(error),
        Unprotected::Behind { kept, allowed } => format!(
            "{kept} bytes are still to be received, and a slot may keep {allowed} (`slot_keep_gib`)"
        ),
    };
    tracing::warn!(
        "receives without a replication slot: {why}; what a checkpoint recycles before it was sent \
         would be missing, which `wal_keep_size` on the server makes less likely"
    );
}

/// Returns the segment that is to be received next: the newest one that is at home, from its start so
/// that it can be kept as a whole, or the one after it if it is. `None` if there is none.
pub(super) async fn next_segment(
    archive: &Archive,
    size: SegmentSize,
) -> Result<Option<Segment>, OperationError> {
    let store = &**archive.home.store();
    let listing = Repository::wal_listing(store, &archive.place).await?;
    let segments = listing.objects().iter().filter_map(WalObject::segment);
    let newest = segments.max();
    Ok(newest.map(|newest| match listing.whole(newest) {
        Some(_) => newest.next(size),
        None => newest,
    }))
}

/// Keeps the history of a timeline, which recoveries along it need.
pub(super) async fn keep_history(
    archive: &Archive,
    sender: &mut WalSender,
    timeline: Timeline,
) -> Result<(), OperationError> {
    if timeline.get() < 2 {
        return Ok(());
    }
    let history = sender.timeline_history(timeline).await?;
    let draft = history_draft(timeline);
    archive.keep(&draft, history.content).await?;
    Ok(())
}

pub(super) fn history_draft(timeline: Timeline) -> WalDraft {
    WalDraft {
        file: WalFileName::History(timeline),
        piece: None,
        newest_commit: None,
    }
}

/// Reports whether the server may have more of the log, though not what was asked for.
pub(super) const fn may_be_resumed(error: &ReplicationError) -> bool {
    matches!(
        error,
        ReplicationError::SegmentRemoved { .. }
            | ReplicationError::Diverged { .. }
            | ReplicationError::NoSlot { .. }
    )
}

/// Returns the segment at which a log goes on that was received up to `reached` when `error` ended it;
/// nothing if asking anew does not help. What it costs is told.
pub(super) async fn resume_at(
    error: &ReplicationError,
    reached: Segment,
    (sender, server): (&mut WalSender, SystemIdentity),
    size: SegmentSize,
) -> Result<Option<Segment>, OperationError> {
    let now = Segment::holding(server.timeline, server.end, size);
    Ok(match error {
        ReplicationError::SegmentRemoved { segment, .. } => {
            // Goes on behind the hole, which must not become the end of the log.
            tracing::error!(
                "the server has removed segment {segment} before it was received, so the log has a \
                 gap from there to {now}: take a backup now, only what follows it can be recovered"
            );
            Some(now)
        }
        ReplicationError::Diverged { timeline, at, .. } if server.timeline > *timeline => {
            let history = sender.timeline_history(server.timeline).await?;
            let history = TimelineHistory::parse(server.timeline, &history.content)
                .map_err(ReplicationError::from)?;
            let next = turn_off(&history, reached, size);
            tracing::error!(
                "the server is on timeline {}, and was promoted without the last of what was received \
                 of timeline {timeline}, up to {at}: that stays, and is recovered with `--timeline \
                 {timeline}` alone; goes on at {next}",
                server.timeline
            );
            Some(next)
        }
        // Another server of the cluster, or somebody has dropped it.
        ReplicationError::NoSlot { .. } => Some(reached),
        _ => None,
    })
}

/// Returns where a history leaves the log that was received up to `reached`: the segment itself if that
/// is within it, else the first of the timeline that took over.
fn turn_off(history: &TimelineHistory, reached: Segment, size: SegmentSize) -> Segment {
    if history.continues(reached.timeline, reached.start(size)) {
        return reached;
    }
    let ancestors = history.ancestors();
    let left = ancestors
        .iter()
        .position(|line| line.timeline == reached.timeline);
    // Of a timeline that it does not know, it is no continuation at all: its own begins last.
    let left = left.or(ancestors.len().checked_sub(1));
    let Some(left) = left else {
        return Segment::holding(history.timeline(), Lsn::default(), size);
    };
    let next = ancestors.get(left + 1).map(|line| line.timeline);
    Segment::holding(
        next.unwrap_or(history.timeline()),
        ancestors[left].end,
        size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promotion_behind_what_was_received_is_followed_from_where_it_left() {
        let size = SegmentSize::DEFAULT;
        let text = b"1\t0/5000100\tx\n2\t0/7000100\tx\n";
        let history = TimelineHistory::parse(Timeline::new(4), text).unwrap();
        let at = |name: &str| turn_off(&history, name.parse().unwrap(), size).to_string();
        // What was received lies before the place where it was left, within that segment, behind it.
        for (reached, expected) in [
            ("000000010000000000000003", "000000010000000000000003"),
            ("000000010000000000000005", "000000010000000000000005"),
            ("000000010000000000000006", "000000020000000000000005"),
            ("000000020000000000000009", "000000040000000000000007"),
            ("000000030000000000000009", "000000040000000000000007"),
            ("000000040000000000000009", "000000040000000000000009"),
        ] {
            assert_eq!(at(reached), expected, "{reached}");
        }
    }
}
