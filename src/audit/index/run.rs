//! A run: an immutable file with the postings of consecutive entries.
//!
//! ```text
//! file    blocks of postings, 4,096 bytes each
//!         ‖ directory: of each block its first posting's term (8) and offset (8)
//!         ‖ Bloom filter over the terms, words of 8
//!         ‖ samples: index (8) and time (8)
//!         ‖ footer
//! ```
//!
//! Directory, filter and samples are held in memory: 0.4 % of the file, at most 4 bytes an entry, and 16 bytes each 1,024
//! entries. They and the footer are checked when the run is opened, blocks whenever they are read.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    block::{self, BLOCK_BYTES, Posting},
    bloom::Bloom,
    footer::{FOOTER_BYTES, Footer},
    search::Postings,
    term::Term,
    time::{Sample, Samples},
};
use crate::store::Direction;

/// An open run.
pub(super) struct Run {
    file: File,
    path: PathBuf,
    footer: Footer,
    /// The first posting of each block.
    directory: Vec<Posting>,
    bloom: Bloom,
    samples: Samples,
}

impl Run {
    /// Opens a run of the log whose origin has this hash.
    ///
    /// # Errors
    /// The file can't be read, is damaged, or is not such a run.
    pub(super) fn open(path: PathBuf, origin: &[u8; 32]) -> io::Result<Self> {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let footer_at = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("is too short"))?;
        let mut bytes = [0; FOOTER_BYTES];
        file.read_exact_at(&mut bytes, footer_at)?;
        let footer = Footer::decode(&bytes, origin).ok_or_else(|| damaged("has no footer of a run of this log"))?;
        let tail_at = footer.blocks.checked_mul(BLOCK_BYTES as u64).ok_or_else(|| damaged("has a wrong length"))?;
        // So no length below is longer than the file.
        let fits = footer.tail_bytes().and_then(|tail| tail_at.checked_add(tail)) == Some(footer_at);
        if !fits {
            return Err(damaged("has a wrong length"));
        }
        let mut tail = Tail::begin(&file, tail_at)?;
        let directory = tail.read(footer.blocks, |tail| Ok((Term(tail.number()?), tail.number()?)))?;
        let words = tail.read(footer.bloom_words, Tail::number)?;
        let samples =
            tail.read(footer.samples, |tail| Ok(Sample { index: tail.number()?, time_unix_micros: tail.number()? }))?;
        if tail.crc.finalize() != footer.tail_crc {
            return Err(damaged("has a directory that does not match its checksum"));
        }
        let bloom = Bloom::restore(words, footer.bloom_probes).ok_or_else(|| damaged("has no filter"))?;
        let samples = Samples(samples);
        Ok(Self { file, path, footer, directory, bloom, samples })
    }

    /// The entries in it.
    pub(super) fn indexes(&self) -> Range<u64> {
        self.footer.indexes.clone()
    }

    /// What the file says of itself.
    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Some entries' times.
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let blocks = self.footer.blocks.saturating_mul(BLOCK_BYTES as u64);
        blocks.saturating_add(self.footer.tail_bytes().unwrap_or(0)).saturating_add(FOOTER_BYTES as u64)
    }

    /// `false`: no entry has the term. Reads no block.
    pub(super) fn may_have(&self, term: Term) -> bool {
        self.bloom.may_have(term)
    }

    /// Over how many blocks the postings of a term may lie. Reads no block.
    pub(super) fn spread(&self, term: Term) -> usize {
        let first = self.directory.partition_point(|(first, _)| *first < term);
        self.directory.partition_point(|(first, _)| *first <= term) - first + 1
    }

    /// The postings of one term.
    pub(super) fn cursor(&self, term: Term, direction: Direction) -> Cursor<'_> {
        Cursor { run: self, term, direction, loaded: None }
    }

    /// All postings, ascending.
    pub(super) fn scan(&self) -> Scan<'_> {
        Scan { run: self, next: 0, postings: Vec::new().into_iter(), last: None }
    }

    /// The postings of a block that `keep` asks for.
    fn block(&self, number: usize, keep: impl Fn(&Posting) -> bool) -> io::Result<Vec<Posting>> {
        let number = number as u64;
        let mut bytes = [0; BLOCK_BYTES];
        self.file.read_exact_at(&mut bytes, number.saturating_mul(BLOCK_BYTES as u64))?;
        let entries = self.footer.indexes.end - self.footer.indexes.start;
        let mut kept = Vec::new();
        for posting in block::postings(number, &bytes)? {
            let posting = posting?;
            if posting.1 >= entries {
                return Err(damaged("has postings past its end"));
            }
            if keep(&posting) {
                kept.push(posting);
            }
        }
        Ok(kept)
    }
}

/// The postings of one term in a run. It holds at most those of one block.
pub(super) struct Cursor<'a> {
    run: &'a Run,
    term: Term,
    direction: Direction,
    loaded: Option<(usize, Vec<Posting>)>,
}

impl Postings for Cursor<'_> {
    type Error = io::Error;

    fn seek(&mut self, at: u64, blocks: &mut usize) -> io::Result<Option<u64>> {
        let (first, direction) = (self.run.footer.indexes.start, self.direction);
        let offset = match (at.checked_sub(first), direction) {
            (Some(offset), _) => offset,
            (None, Direction::Ascending) => 0,
            (None, Direction::Descending) => return Ok(None),
        };
        let wanted = (self.term, offset);
        // The block that would hold it is the last one that begins no later.
        let after = self.run.directory.partition_point(|first| *first <= wanted);
        let here = match after.checked_sub(1) {
            Some(number) if self.run.directory.get(number) == Some(&wanted) => Some(wanted),
            Some(number) => {
                let postings = self.load(number, blocks)?;
                match direction {
                    Direction::Ascending => postings.get(postings.partition_point(|posting| *posting < wanted)),
                    Direction::Descending => {
                        let behind = postings.partition_point(|posting| *posting <= wanted);
                        behind.checked_sub(1).and_then(|last| postings.get(last))
                    }
                }
                .copied()
            }
            None => None,
        };
        let next = match direction {
            // The directory knows the next block's first posting.
            Direction::Ascending => self.run.directory.get(after).copied().filter(|(term, _)| *term == self.term),
            Direction::Descending => None,
        };
        Ok(here.or(next).map(|(_, offset)| first + offset))
    }
}

impl Cursor<'_> {
    fn load(&mut self, number: usize, blocks: &mut usize) -> io::Result<&[Posting]> {
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            *blocks += 1;
            self.loaded = Some((number, self.run.block(number, |(term, _)| *term == self.term)?));
        }
        Ok(self.loaded.as_ref().map_or(&[], |(_, postings)| postings))
    }
}

/// All postings of a run, block by block.
pub(super) struct Scan<'a> {
    run: &'a Run,
    next: usize,
    postings: std::vec::IntoIter<Posting>,
    last: Option<Posting>,
}

impl Scan<'_> {
    /// The next posting; `None` at the end.
    ///
    /// # Errors
    /// A block can't be read or is damaged.
    pub(super) fn posting(&mut self) -> io::Result<Option<Posting>> {
        while self.postings.as_slice().is_empty() && self.next < self.run.directory.len() {
            self.postings = self.run.block(self.next, |_| true)?.into_iter();
            self.next += 1;
        }
        let posting = self.postings.next();
        if posting.is_some() && posting <= self.last {
            return Err(damaged("has postings out of order"));
        }
        self.last = posting;
        Ok(posting)
    }
}

/// What lies between the blocks and the footer, read bit by bit: it is megabytes long, and should not be held twice.
struct Tail<'a> {
    file: BufReader<&'a File>,
    crc: crc32fast::Hasher,
}

impl<'a> Tail<'a> {
    fn begin(mut file: &'a File, at: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file: BufReader::new(file), crc: crc32fast::Hasher::new() })
    }

    fn read<T>(&mut self, count: u64, one: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let mut all = Vec::with_capacity(usize::try_from(count).map_err(io::Error::other)?);
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(u64::from_be_bytes(bytes))
    }
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file {how}"))
}
