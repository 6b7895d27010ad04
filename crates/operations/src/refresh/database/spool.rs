//! Masked rows on disk, between being masked, searched, loaded and stored.
//!
//! Holds nothing but masked rows. A part is a stretch of one table in COPY text; parts are packed,
//! frame by frame, so that the pool does the packing.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use lifeboat_masking::TextBatch;
use rayon::prelude::*;

use crate::error::OperationError;

/// Level of Zstandard: rows are packed to spare the disk, and live for minutes.
const LEVEL: i32 = -3;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Parts of tables.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pub(super) parts: Vec<Part>,
}

/// A stretch of one table.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Position of the table in the catalog.
    pub(super) table: usize,
    /// Its number within the table.
    pub(super) number: u32,
    pub(super) rows: u64,
    /// Length of the rows, bytes.
    pub(super) bytes: u64,
    path: PathBuf,
}

impl Spool {
    /// Returns how many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Returns how many rows a table has.
    pub(super) fn rows_of(&self, table: usize) -> u64 {
        let parts = self.parts.iter().filter(|part| part.table == table);
        parts.map(|part| part.rows).sum()
    }

    /// Returns how many bytes of rows there are.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Brings the parts into the order of tables.
    pub(super) fn sort(&mut self) {
        self.parts.sort_by_key(|part| (part.table, part.number));
    }

    /// Returns the hash of the hashes of all parts as they lie on disk, in order. Runs on the current
    /// rayon pool.
    pub(super) fn hash(&self) -> Result<String, OperationError> {
        let hashes: Result<Vec<_>, _> = self.parts.par_iter().map(Part::hash).collect();
        let mut all = blake3::Hasher::new();
        for (part, hash) in self.parts.iter().zip(hashes?) {
            all.update(&part.rows.to_le_bytes()).update(hash.as_bytes());
        }
        Ok(all.finalize().to_hex().to_string())
    }
}

impl Part {
    /// A part that lies unpacked in a file, as a masked snapshot has it.
    pub(super) fn plain(table: usize, number: u32, rows: u64, path: PathBuf) -> Self {
        let bytes = path.metadata().map_or(0, |file| file.len());
        Self {
            table,
            number,
            rows,
            bytes,
            path,
        }
    }

    fn hash(&self) -> Result<blake3::Hash, OperationError> {
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&self.path);
        file.and_then(|file| hasher.update_reader(file).map(drop))
            .map_err(|error| OperationError::io("read", &self.path, error))?;
        Ok(hasher.finalize())
    }

    /// Opens the rows.
    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>, OperationError> {
        if self.bytes == 0 {
            // Nothing was packed, not even an end.
            return Ok(Box::new(io::empty()));
        }
        let failed = |error| OperationError::io("read", &self.path, error);
        let file = File::open(&self.path).map_err(failed)?;
        if self.path.extension().is_some_and(|ending| ending == "zst") {
            let file = BufReader::with_capacity(READ_BYTES, file);
            return Ok(Box::new(zstd::Decoder::with_buffer(file).map_err(failed)?));
        }
        Ok(Box::new(file))
    }

    /// Hands the rows over in chunks, cut anywhere, until `give` says stop.
    pub(super) fn each_chunk(
        &self,
        mut give: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), OperationError> {
        let failed = |error| OperationError::io("read", &self.path, error);
        let mut source = self.open()?;
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match read_full(&mut source, &mut chunk).map_err(failed)? {
                0 => return Ok(()),
                len if !give(&chunk[..len]) => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Reads until the buffer is full or the source ends: few large chunks travel better than many.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..])? {
            0 => break,
            len => filled += len,
        }
    }
    Ok(filled)
}

/// Writes one part.
#[derive(Debug)]
pub(super) struct PartWriter {
    part: Part,
    file: File,
}

impl PartWriter {
    /// Begins a part in `folder`.
    pub(super) fn create(folder: &Path, table: usize, number: u32) -> Result<Self, OperationError> {
        let path = folder.join(format!("{table:04}-{number:05}.copy.zst"));
        let file = File::create_new(&path);
        let file = file.map_err(|error| OperationError::io("create", &path, error))?;
        Ok(Self {
            part: Part {
                table,
                number,
                rows: 0,
                bytes: 0,
                path,
            },
            file,
        })
    }

    /// Packs a batch. Any thread may.
    pub(super) fn pack(batch: &TextBatch) -> io::Result<PackedBatch> {
        Ok(PackedBatch {
            rows: batch.rows,
            bytes: batch.bytes.len() as u64,
            frame: zstd::bulk::compress(&batch.bytes, LEVEL)?,
        })
    }

    /// Appends a packed batch.
    pub(super) fn append(&mut self, batch: &PackedBatch) -> Result<(), OperationError> {
        self.part.rows += batch.rows;
        self.part.bytes += batch.bytes;
        let written = self.file.write_all(&batch.frame);
        written.map_err(|error| OperationError::io("write", &self.part.path, error))
    }

    /// Ends the part.
    pub(super) fn finish(self) -> Part {
        self.part
    }
}

/// Rows that are packed.
#[derive(Debug)]
pub(super) struct PackedBatch {
    rows: u64,
    bytes: u64,
    frame: Vec<u8>,
}
