//! Streams in and out: files and standard streams, plain, gzip or Zstandard.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::OperationError;

/// Bytes read and written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Level of Zstandard: what it does at the speed of masking.
const ZSTD_LEVEL: i32 = 3;

/// Where a stream comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPlace {
    /// Standard input or output.
    Standard,
    /// A file.
    File(PathBuf),
}

impl StreamPlace {
    /// Returns the file's name without its ending, and that ending in lower case, both without that of
    /// its compression.
    pub(crate) fn name_and_ending(&self) -> Option<(String, String)> {
        let Self::File(path) = self else {
            return None;
        };
        let mut name = path.file_name()?.to_str()?;
        let split = |name: &'_ str| {
            let (stem, ending) = name.rsplit_once('.')?;
            Some((stem.len(), ending.to_ascii_lowercase()))
        };
        let (mut stem, mut ending) = split(name)?;
        if ["gz", "zst"].contains(&ending.as_str()) {
            name = &name[..stem];
            (stem, ending) = split(name)?;
        }
        Some((name[..stem].to_owned(), ending))
    }

    /// Returns the place as messages name it.
    pub fn shown(&self) -> PathBuf {
        match self {
            Self::Standard => PathBuf::from("-"),
            Self::File(path) => path.clone(),
        }
    }
}

/// What was packed cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Unpackable {
    packing: &'static str,
    why: io::Error,
}

/// A stream that unpacks, and says so of its own faults: all others are the system's.
struct Unpacking<R> {
    packing: &'static str,
    stream: R,
}

impl<R: Read> Read for Unpacking<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into).map_err(|why| {
            if why.raw_os_error().is_some() || why.kind() == io::ErrorKind::Interrupted {
                return why;
            }
            let packing = self.packing;
            io::Error::new(io::ErrorKind::InvalidData, Unpackable { packing, why })
        })
    }
}

/// Says that a stream could not be read: that it is not packed as it should be, or what the system says.
pub(crate) fn failed_to_read(place: &Path, error: io::Error) -> OperationError {
    match error.downcast::<Unpackable>() {
        Ok(Unpackable { packing, why }) => OperationError::Malformed {
            path: place.to_owned(),
            format: packing,
            what: why.to_string(),
            hint: "it is cut off or damaged: get it anew from where it comes from",
        },
        Err(error) => OperationError::io("read", place, error),
    }
}

/// Opens a stream and unpacks it if its first bytes say that it is packed.
pub(crate) fn open(place: &StreamPlace) -> io::Result<Box<dyn Read + Send>> {
    let raw: Box<dyn Read + Send> = match place {
        StreamPlace::Standard => Box::new(io::stdin()),
        StreamPlace::File(path) => Box::new(File::open(path)?),
    };
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    let start = raw.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(Unpacking {
            packing: "gzip",
            stream: MultiGzDecoder::new(raw),
        }));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(Unpacking {
            packing: "Zstandard",
            stream: zstd::Decoder::with_buffer(raw)?,
        }));
    }
    Ok(Box::new(raw))
}

/// A new file that packs as its final name asks, or standard output.
pub(super) enum Sink {
    Plain(Hashing),
    Gzip(GzEncoder<Hashing>),
    Zstd(zstd::Encoder<'static, Hashing>),
}

/// What everything goes through last: hashed as it is written.
pub(super) struct Hashing {
    to: BufWriter<Box<dyn Write + Send>>,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Sink {
    /// Standard output.
    pub(super) fn standard() -> Self {
        Self::Plain(Hashing::new(Box::new(io::stdout())))
    }

    /// The new file `path`, packed as the ending of `named` says.
    pub(super) fn create(path: &Path, named: &Path) -> io::Result<Self> {
        let file = Hashing::new(Box::new(File::create_new(path)?));
        let ending = named.extension().map(|ending| ending.to_ascii_lowercase());
        Ok(match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => Self::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
            _ => Self::Plain(file),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Gzip(to) => to.write_all(bytes),
            Self::Zstd(to) => to.write_all(bytes),
        }
    }

    /// Writes what is left, and returns the hash of all that was written.
    pub(super) fn finish(self) -> io::Result<String> {
        let mut hashing = match self {
            Self::Plain(to) => to,
            Self::Gzip(to) => to.finish()?,
            Self::Zstd(to) => to.finish()?,
        };
        hashing.flush()?;
        Ok(hashing.hasher.finalize().to_hex().to_string())
    }
}

impl Hashing {
    fn new(to: Box<dyn Write + Send>) -> Self {
        Self {
            to: BufWriter::with_capacity(BUFFER_BYTES, to),
            hasher: blake3::Hasher::new(),
        }
    }
}
