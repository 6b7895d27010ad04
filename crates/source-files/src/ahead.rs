//! A walk on a thread of its own, ahead of whoever reads the files.
//!
//! Owns the queue between the two; must never let a walk that broke off look like one that ended.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::vec;

use crate::error::FileProblem;
use crate::found::Found;
use crate::links::Links;
use crate::walker::Walker;

/// Entries handed over at a time: waking the other thread costs more than looking at an entry.
const BATCH_ENTRIES: usize = 64;

/// Batches that may wait.
const BATCHES_MAX: usize = 8;

type Step = Result<Found, FileProblem>;

/// A [`Walker`] that runs ahead: the same entries in the same order.
///
/// What a file is called first is decided on this side, so that [`WalkAhead::forget_link`] is in
/// time for names that wait already. An entry's metadata may be some hundred entries old; of a file
/// that is read, [`crate::ContentReader::metadata`] is what holds.
#[derive(Debug)]
pub struct WalkAhead {
    batches: Receiver<Vec<Step>>,
    batch: vec::IntoIter<Step>,
    links: Links,
    thread: Option<JoinHandle<()>>,
}

impl WalkAhead {
    pub(crate) fn start(walker: Walker, links: Links) -> WalkAhead {
        let (sender, batches) = sync_channel(BATCHES_MAX);
        let thread = std::thread::spawn(move || walk(walker, &sender));
        WalkAhead {
            batches,
            batch: Vec::new().into_iter(),
            links,
            thread: Some(thread),
        }
    }

    /// Makes the next name of `found`'s file the file itself, as [`Walker::forget_link`] does.
    pub fn forget_link(&mut self, found: &Found) {
        self.links.forget(found);
    }
}

impl Iterator for WalkAhead {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(mut step) = self.batch.next() {
                if let Ok(found) = &mut step {
                    self.links.judge(found);
                }
                return Some(step);
            }
            match self.batches.recv() {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(_) => {
                    // The thread is done. If it panicked, this is not the end of the walk.
                    if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    return None;
                }
            }
        }
    }
}

fn walk(mut walker: Walker, batches: &SyncSender<Vec<Step>>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH_ENTRIES);
        batch.extend(std::iter::from_fn(|| walker.step()).take(BATCH_ENTRIES));
        // A send fails when nobody wants the rest.
        if batch.is_empty() || batches.send(batch).is_err() {
            return;
        }
    }
}
