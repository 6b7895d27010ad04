//! Rows of one table as they flow: from a stream through the masks, and past the gates.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use lifeboat_masking::{
    Canaries, ColumnClass, Originals, OutputScan, Plan, ScanFindings, TextBatch, TextBatches,
    TextMasker,
};
use lifeboat_runtime::ComputePool;

use super::io::{self, Sink, StreamPlace};
use crate::error::OperationError;

/// Batches that travel together.
const GROUP_BATCHES: usize = 4;
/// Groups that wait between two stages.
const GROUPS_WAITING: usize = 1;
/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Rows that come and go as one stream: how they begin, and the masks for them.
pub(super) struct TableStream {
    pub(super) masker: TextMasker,
    /// The header as it was written; JSON Lines have none.
    pub(super) header: Vec<u8>,
}

/// Where rows come from.
pub(super) struct Input<'a> {
    pub(super) source: &'a mut (dyn Read + Send),
    /// What was read beyond the header.
    pub(super) ahead: Vec<u8>,
    /// How messages name it.
    pub(super) shown: &'a Path,
    /// How many rows of the table came before, in other files.
    pub(super) first_row: u64,
}

/// Where they go.
pub(super) struct Output<'a> {
    pub(super) sink: Sink,
    /// How messages name it.
    pub(super) shown: &'a Path,
}

/// What looks through masked rows while they pass: for output that cannot be read back.
pub(super) struct Passing<'a> {
    pub(super) plan: &'a Plan,
    pub(super) canaries: &'a Canaries,
    pub(super) findings: ScanFindings,
}

/// What came of the flow.
pub(super) struct Flow {
    pub(super) rows: u64,
    pub(super) output_hash: String,
}

impl TableStream {
    /// Lets rows flow from their source through the masks to where they go. Blocks.
    pub(super) fn flow(
        &self,
        pool: &ComputePool,
        input: Input<'_>,
        output: Output<'_>,
        originals: &mut Originals,
        mut passing: Option<&mut Passing<'_>>,
    ) -> Result<Flow, OperationError> {
        let masker = &self.masker;
        let Input {
            source,
            ahead,
            shown,
            first_row,
        } = input;
        std::thread::scope(|scope| {
            let (read, to_mask) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let (masked, to_write) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let reading = scope.spawn(move || {
                let mut cut = TextBatches::new(masker.format().clone()).from_row(first_row);
                read_groups(source, &ahead, &mut cut, |group| read.send(group).is_ok())
                    .map_err(|fault| fault.at(shown))
            });
            let writing = scope.spawn(move || self.write(output, &to_write));
            let mut rows = 0;
            let mut masking: Result<(), OperationError> = Ok(());
            for group in to_mask {
                rows += group.iter().map(|batch| batch.rows).sum::<u64>();
                let done = pool.install(|| {
                    let group = masker.mask_all(&group, originals)?;
                    if let Some(passing) = passing.as_deref_mut() {
                        passing.look_through(masker, &group, originals)?;
                    }
                    Ok(group)
                });
                match done {
                    Ok(group) => {
                        // Whoever no longer writes has an error of its own to tell.
                        if masked.send(group).is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        masking = Err(error);
                        break;
                    }
                }
            }
            drop(masked);
            let written = writing.join().expect("writing does not panic");
            masking?;
            let output_hash = written?;
            reading.join().expect("reading does not panic")?;
            Ok(Flow { rows, output_hash })
        })
    }

    /// Writes the header and what comes; returns the hash of all of it.
    fn write(
        &self,
        output: Output<'_>,
        masked: &mpsc::Receiver<Vec<TextBatch>>,
    ) -> Result<String, OperationError> {
        let Output { mut sink, shown } = output;
        let mut write = || {
            sink.write(&self.header)?;
            for batch in masked.iter().flatten() {
                sink.write(&batch.bytes)?;
            }
            Ok(())
        };
        write()
            .and_then(|()| sink.finish())
            .map_err(|error| OperationError::io("write", shown, error))
    }

    /// Reads masked rows back from the file `made` and looks through them. Blocks.
    pub(super) fn scan_file(
        &self,
        pool: &ComputePool,
        made: &Path,
        scan: &mut OutputScan<'_>,
    ) -> Result<(), OperationError> {
        let place = StreamPlace::File(made.to_owned());
        let failed = |error| OperationError::io("read back", made, error);
        let mut source = io::open(&place).map_err(failed)?;
        let mut header = vec![0; self.header.len()];
        source.read_exact(&mut header).map_err(failed)?;
        let masker = &self.masker;
        std::thread::scope(|scope| {
            let (read, to_scan) = mpsc::sync_channel::<Vec<TextBatch>>(GROUPS_WAITING);
            let reading = scope.spawn(move || {
                let mut cut = TextBatches::new(masker.format().clone());
                read_groups(&mut source, &[], &mut cut, |group| read.send(group).is_ok())
            });
            let mut scanned = Ok(());
            for group in to_scan {
                scanned = pool.install(|| masker.scan_all(&group, scan));
                if scanned.is_err() {
                    break;
                }
            }
            scanned?;
            let read = reading.join().expect("reading does not panic");
            read.map_err(|fault| fault.at(made))
        })
    }

    /// The columns that pass unchanged in every row.
    pub(super) fn kept(&self) -> impl Iterator<Item = String> {
        let table = self.masker.table();
        table
            .columns()
            .filter(|(_, class)| *class == ColumnClass::Kept)
            .map(|(name, _)| format!("{}.{name}", table.name()))
    }
}

impl Passing<'_> {
    fn look_through(
        &mut self,
        masker: &TextMasker,
        group: &[TextBatch],
        originals: &Originals,
    ) -> Result<(), OperationError> {
        let found = std::mem::replace(&mut self.findings, ScanFindings::new(self.plan));
        let mut scan = OutputScan::resume(self.plan, originals, self.canaries, found);
        masker.scan_all(group, &mut scan)?;
        self.findings = scan.pause();
        Ok(())
    }
}

/// Why a stream could not be read.
enum ReadFault {
    Io(std::io::Error),
    TooLong(lifeboat_masking::RowTooLong),
}

impl ReadFault {
    fn at(self, place: &Path) -> OperationError {
        match self {
            Self::Io(error) => io::failed_to_read(place, error),
            Self::TooLong(error) => OperationError::RowTooLong(error),
        }
    }
}

/// Cuts a stream into batches and hands groups of them to `give` until it says stop.
fn read_groups(
    source: &mut dyn Read,
    ahead: &[u8],
    cut: &mut TextBatches,
    mut give: impl FnMut(Vec<TextBatch>) -> bool,
) -> Result<(), ReadFault> {
    let mut group = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    group.extend(cut.push(ahead).map_err(ReadFault::TooLong)?);
    loop {
        let len = match source.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadFault::Io(error)),
        };
        if len == 0 {
            break;
        }
        group.extend(cut.push(&chunk[..len]).map_err(ReadFault::TooLong)?);
        if group.len() >= GROUP_BATCHES && !give(std::mem::take(&mut group)) {
            // Whoever no longer listens has an error of its own to tell.
            return Ok(());
        }
    }
    group.extend(cut.finish());
    if !group.is_empty() {
        give(group);
    }
    Ok(())
}
