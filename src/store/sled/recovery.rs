//! Makes it safe to be cut off while sled recovers.
//!
//! A recovery reads the log from the last snapshot on, writes a new snapshot, and then fills with zeros every segment that is not
//! needed any more. It never syncs the new snapshot's name. If power fails between, the zeros may be on the disk and the name
//! not, and the next recovery starts at the old snapshot: a segment near the end that is missing then is taken for a torn end,
//! and all that follows it is dropped, acknowledged or not. A log that has just removed sealed blocks has such segments.
//!
//! So before sled opens its file, the segments of which it demands that none is missing are copied to a file of their own:
//!
//! ```text
//! recovering   "privet recovery 1\n" ‖ [ offset (8) ‖ length (4) ‖ bytes ]… ‖ SHA-256 of all that; integers big-endian
//! ```
//!
//! It is durable before sled begins, and gone once all of the directory is durable afterwards. One that is there at a start is
//! of a start that was cut off: its segments are put back where they were filled with zeros, and sled begins again.
//!
//! It knows of sled's format what the headers of segments say: the number of their first byte in the log (its LSN), and how
//! much of the log was stable when they were begun. sled is pinned to one version.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
};

use ring::digest::{SHA256, digest};

use super::{
    SEGMENT_BYTES,
    directory::{Directory, FILE_MODE},
    storage,
};
use crate::store::Error;

/// Puts back what a recovery that was cut off has filled with zeros, and keeps what this one may.
pub(super) fn prepare(directory: &Directory) -> Result<(), Error> {
    let prepare = || -> io::Result<()> {
        let Some(database) = directory.database_if_there()? else { return Ok(()) };
        let path = directory.path().join(RECOVERING);
        let kept = match fs::read(&path) {
            Ok(bytes) => decode(&bytes),
            Err(none) if none.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if let Some(kept) = kept {
            put_back(&database, &kept)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&path)?;
        file.write_all(&encode(&end(&database)?))?;
        file.sync_all()?;
        directory.sync_names()
    };
    prepare().map_err(|e| storage("prepared the recovery of the database", e))
}

/// The recovery is durable.
pub(super) fn done(directory: &Directory) -> Result<(), Error> {
    let remove = || match fs::remove_file(directory.path().join(RECOVERING)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => directory.sync_names(),
    };
    remove().map_err(|e| storage("ended the recovery of the database", e))
}

/// A segment of sled's file.
struct Segment {
    offset: u64,
    bytes: Vec<u8>,
}

/// The segments from the last stable one on.
fn end(database: &File) -> io::Result<Vec<Segment>> {
    let mut headers = Vec::new();
    for offset in (0..database.metadata()?.len()).step_by(SEGMENT_BYTES) {
        headers.extend(Header::read(database, offset)?.map(|header| (offset, header)));
    }
    let stable = headers.iter().map(|(_, header)| header.stable).max().unwrap_or(0);
    let from = stable - stable % SEGMENT_BYTES as u64;
    let wanted = headers.iter().filter(|(_, header)| header.lsn >= from);
    wanted.map(|(offset, _)| Ok(Segment { offset: *offset, bytes: read(database, *offset, SEGMENT_BYTES)? })).collect()
}

/// Writes segments over zeros, if they are this database's: each of their places holds the same one or nothing, or the next one
/// that a recovery may have begun there.
fn put_back(database: &File, kept: &[Segment]) -> io::Result<()> {
    let last = kept.iter().filter_map(|segment| Header::parse(&segment.bytes)).map(|header| header.lsn).max();
    let next = last.map(|lsn| lsn.saturating_add(SEGMENT_BYTES as u64));
    for segment in kept {
        let there = read(database, segment.offset, HEADER_BYTES)?;
        let is_empty = there.iter().all(|byte| *byte == 0);
        let is_same = segment.bytes.starts_with(&there);
        let is_next = Header::parse(&there).is_some_and(|header| Some(header.lsn) == next);
        if !(is_empty || is_same || is_next) {
            return Ok(());
        }
    }
    for segment in kept {
        database.write_all_at(&segment.bytes, segment.offset)?;
    }
    database.sync_all()
}

/// What the first bytes of a segment say.
struct Header {
    lsn: u64,
    stable: u64,
}

impl Header {
    /// `None` for a segment that holds nothing.
    fn read(database: &File, offset: u64) -> io::Result<Option<Self>> {
        let bytes = read(database, offset, HEADER_BYTES)?;
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (crc, rest) = bytes.get(..HEADER_BYTES)?.split_first_chunk()?;
        let (lsn, stable) = rest.split_first_chunk()?;
        // In the first segment nothing was stable, which is -1.
        let number = |bytes| u64::try_from(i64::from_le_bytes(bytes) ^ i64::MAX).unwrap_or(0);
        let is_whole = u32::from_le_bytes(*crc) ^ u32::MAX == crc32fast::hash(rest);
        is_whole.then_some(Self { lsn: number(*lsn), stable: number(stable.try_into().ok()?) })
    }
}

/// As many bytes as there are.
fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

fn encode(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for Segment { offset, bytes: segment } in segments {
        bytes.extend_from_slice(&offset.to_be_bytes());
        // At most a segment's length.
        bytes.extend_from_slice(&(segment.len() as u32).to_be_bytes());
        bytes.extend_from_slice(segment);
    }
    let hash = digest(&SHA256, &bytes);
    bytes.extend_from_slice(hash.as_ref());
    bytes
}

/// `None` for a file that was not finished: no recovery had begun.
fn decode(bytes: &[u8]) -> Option<Vec<Segment>> {
    let (body, hash) = bytes.split_last_chunk::<32>()?;
    if digest(&SHA256, body).as_ref() != hash {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let (offset, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (segment, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        segments.push(Segment { offset: u64::from_be_bytes(*offset), bytes: segment.to_vec() });
        rest = after;
    }
    Some(segments)
}

pub(super) const RECOVERING: &str = "recovering";
const MAGIC: &[u8] = b"privet recovery 1\n";
/// CRC-32 ‖ LSN ‖ stable LSN, little-endian, each inverted in its way.
const HEADER_BYTES: usize = 20;
