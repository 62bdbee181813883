//! One file or object: which one it is, how far it was read, and its bodies one after the other.

use std::fs::File;
use std::io::{Read, Write};

use aws_sdk_s3::primitives::ByteStream;
use flate2::write::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;
use twox_hash::XxHash3_128;

use super::pieces::{Layout, Mark, Piece, Pieces};
use super::s3_error::S3Error;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes that are read from a file at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes that are unpacked at a time: gzip makes at most a thousand times as many of them.
const GZIP_CHUNK_BYTES: usize = 4 << 10;

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is called in `positions` and logs: a path or a key.
    pub name: String,
    pub version: Version,
}

/// What differs when an object has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Of a bucket's objects.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub etag: Option<String>,
}

/// How far an object was read, as `positions` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    #[serde(flatten)]
    pub version: Version,
    /// A hash of how a file begins: one that has grown begins as it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub beginning: Option<String>,
    /// A hash of what stands right before the mark of a file that is not packed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    pub is_packed: bool,
    /// It is packed, and ends early.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_broken: bool,
    #[serde(flatten)]
    pub mark: Option<Mark>,
}

impl Position {
    /// # Errors
    /// It is not ours; the object is read from its beginning.
    pub fn parse(text: &str) -> Result<Position, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// As `positions` keeps it.
    pub fn text(&self) -> String {
        // Numbers and text cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The byte from which on the object itself is read: a packed one is unpacked from its beginning.
    pub fn first_byte(&self) -> u64 {
        match self.mark {
            Some(mark) if !self.is_packed => mark.offset,
            _ => 0,
        }
    }

    /// Whether it holds for a version that may have been made by appending to its own. Whether it was is not said here.
    pub fn survives(&self, version: &Version) -> bool {
        let is_grown = version.size >= self.version.size && version.size >= self.first_byte();
        let has_lines = self.mark.is_some_and(|mark| mark.layout == Layout::Lines);
        self.version == *version || is_grown && has_lines && !self.is_packed
    }
}

/// Bytes as a position keeps them: how many, and their hash.
pub fn described(bytes: &[u8]) -> String {
    format!("{} {:032x}", bytes.len(), XxHash3_128::oneshot(bytes))
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is not the same object any more. The next listing says what it is now.
    #[error("{0} has changed or gone since it was listed")]
    Changed(String),
    /// Its gzip data are cut off or wrong: only a new version of it can be read to the end.
    #[error(
        "the gzip data of {0} are cut off or wrong: what stands before is stored; write it anew"
    )]
    Broken(String),
    /// What failed of a file, and why.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// Of a bucket.
    #[error(transparent)]
    Bucket(#[from] S3Error),
}

/// Where the bytes of an object come from.
#[derive(Debug)]
pub enum Bytes {
    File(File),
    Bucket(ByteStream),
}

/// The bodies of one object.
#[derive(Debug)]
pub struct Object {
    name: String,
    version: Version,
    beginning: Option<String>,
    bytes: Bytes,
    /// Bytes of the object that were read and not cut yet.
    chunk: Vec<u8>,
    cut: usize,
    is_read: bool,
    unpacker: Option<MultiGzDecoder<Vec<u8>>>,
    /// Unpacked bytes that were read before.
    skip: u64,
    pieces: Pieces,
    mark: Option<Mark>,
    /// Of a file that is not packed, what stands right before the mark: as it was saved, or as it was read since.
    saved_before: Option<String>,
    before: Vec<u8>,
    is_packed: bool,
    is_broken: bool,
    /// Bytes of the object that were read so far.
    pub read_bytes: u64,
}

impl Object {
    /// `bytes` begin at the position's first byte.
    ///
    /// # Errors
    /// The first bytes cannot be read.
    pub async fn open(
        listed: &Listed,
        bytes: Bytes,
        position: Option<&Position>,
        beginning: Option<String>,
        max_bytes: usize,
    ) -> Result<Object, ObjectError> {
        let mark = position.and_then(|position| position.mark);
        let first_byte = position.map_or(0, Position::first_byte);
        let mut object = Object {
            name: listed.name.clone(),
            version: listed.version.clone(),
            beginning,
            bytes,
            chunk: Vec::new(),
            cut: 0,
            is_read: false,
            unpacker: None,
            skip: mark.map_or(0, |mark| mark.offset) - first_byte,
            pieces: Pieces::new(max_bytes, mark),
            mark,
            saved_before: position.and_then(|position| position.before.clone()),
            before: Vec::new(),
            is_packed: false,
            is_broken: false,
            read_bytes: first_byte,
        };
        if first_byte == 0 {
            while object.chunk.len() < GZIP_MAGIC.len() && !object.is_read {
                object.read().await?;
            }
            object.is_packed = object.chunk.starts_with(&GZIP_MAGIC);
            object.unpacker = object.is_packed.then(|| MultiGzDecoder::new(Vec::new()));
        }
        Ok(object)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Takes note that a piece is done with.
    pub fn pass(&mut self, end: u64, number: u64) {
        self.mark = self.pieces.layout().map(|layout| Mark {
            layout,
            offset: end,
            number,
        });
        if self.beginning.is_some() && !self.is_packed {
            self.before.clear();
            self.before.extend_from_slice(self.pieces.before());
        }
    }

    /// The position behind the last piece that was passed.
    pub fn position(&self) -> Position {
        Position {
            version: self.version.clone(),
            beginning: self.beginning.clone(),
            before: if self.before.is_empty() {
                self.saved_before.clone()
            } else {
                Some(described(&self.before))
            },
            is_packed: self.is_packed,
            is_broken: self.is_broken,
            mark: self.mark,
        }
    }

    /// The next body; `None` at the end.
    ///
    /// # Errors
    /// Reading failed. Where gzip data are broken, all bodies before are given first.
    pub async fn next(&mut self) -> Result<Option<Piece>, ObjectError> {
        loop {
            if let Some(piece) = self.pieces.cut() {
                return Ok(Some(piece));
            }
            if self.is_broken {
                return Err(ObjectError::Broken(self.name.clone()));
            }
            if self.cut < self.chunk.len() {
                self.cut_some();
            } else if self.is_read {
                if !self.finish() {
                    return Ok(None);
                }
            } else {
                self.read().await?;
            }
        }
    }

    /// Reads the next bytes of the object.
    async fn read(&mut self) -> Result<(), ObjectError> {
        self.chunk.drain(..self.cut);
        self.cut = 0;
        let before = self.chunk.len();
        match &mut self.bytes {
            Bytes::File(file) => {
                let chunk = &mut self.chunk;
                block_in_place(|| {
                    Read::by_ref(file)
                        .take(CHUNK_BYTES as u64)
                        .read_to_end(chunk)
                })
                .map_err(|error| ObjectError::File(format!("cannot read {}", self.name), error))?;
            }
            Bytes::Bucket(stream) => {
                if let Some(bytes) = stream.next().await {
                    let bytes = bytes.map_err(|error| S3Error::broken_off(&error))?;
                    self.chunk.extend_from_slice(&bytes);
                }
            }
        }
        let count = self.chunk.len() - before;
        self.read_bytes += count as u64;
        self.is_read = count == 0;
        Ok(())
    }

    /// Hands some of the bytes to the pieces, unpacked.
    fn cut_some(&mut self) {
        let Some(unpacker) = &mut self.unpacker else {
            self.pieces.push(&self.chunk[self.cut..]);
            self.cut = self.chunk.len();
            return;
        };
        let end = self.chunk.len().min(self.cut + GZIP_CHUNK_BYTES);
        let written = unpacker.write_all(&self.chunk[self.cut..end]);
        self.cut = end;
        self.is_broken = written.is_err();
        self.push_unpacked();
    }

    fn push_unpacked(&mut self) {
        let Some(unpacker) = &mut self.unpacker else {
            return;
        };
        let unpacked = unpacker.get_mut();
        let skipped = unpacked
            .len()
            .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        self.pieces.push(&unpacked[skipped..]);
        unpacked.clear();
    }

    /// Ends the last piece. False where that was done before.
    fn finish(&mut self) -> bool {
        if self.pieces.is_finished() {
            return false;
        }
        if let Some(unpacker) = &mut self.unpacker {
            self.is_broken = unpacker.try_finish().is_err();
            self.push_unpacked();
        }
        // What a broken object ends with is not the end of a body.
        if !self.is_broken {
            self.pieces.finish();
        }
        true
    }
}
