//! Writes runs: from a table, and by merging. Both stream; what is held is the new run's directory and filter.

use std::{io, ops::Range, path::Path, sync::Arc};

use super::{
    Unread,
    block::{Packer, Posting},
    bloom::Bloom,
    files::{self, Temporary},
    footer::Footer,
    run::{Run, Scan},
    table::Table,
    term::Term,
    time::Samples,
};

/// Writes what a table holds to a run.
///
/// # Errors
/// It can't be written; nothing has changed then.
pub(super) fn table(dir: &Path, origin: &[u8; 32], table: &Table) -> io::Result<Run> {
    let (indexes, content) = (table.indexes(), table.read());
    let mut writer = Writer::create(dir, indexes, 0, content.terms())?;
    for posting in &content.postings {
        writer.push(*posting)?;
    }
    writer.finish(origin, &content.samples, content.last_leaf_hash)
}

/// The length of the run of a table, at most.
pub(super) fn table_bytes_max(table: &Table) -> u64 {
    let (indexes, content) = (table.indexes(), table.read());
    let postings = POSTING_BYTES_MAX.saturating_mul(content.postings.len() as u64);
    let bloom = BLOOM_BYTES_AN_ENTRY.saturating_mul(indexes.end - indexes.start);
    let samples = 16 * content.samples.0.len() as u64;
    postings + bloom + samples + REST_BYTES_MAX
}

/// Why runs were not merged.
pub(super) enum Unmerged {
    /// One of them can't be read.
    Read(Unread),
    /// The new one can't be written.
    Write(io::Error),
}

/// Merges consecutive runs, oldest first, into one of the next level. They are left as they are.
///
/// # Errors
/// [`Unmerged`]; nothing has changed then.
pub(super) fn merged(dir: &Path, origin: &[u8; 32], runs: &[Arc<Run>]) -> Result<Run, Unmerged> {
    let (Some(oldest), Some(newest)) = (runs.first(), runs.last()) else {
        return Err(Unmerged::Write(io::ErrorKind::InvalidInput.into()));
    };
    let first = oldest.indexes().start;
    let terms = runs.iter().map(|run| run.footer().terms).fold(0, u64::saturating_add);
    let level = oldest.footer().level.saturating_add(1);
    let mut writer = Writer::create(dir, first..newest.indexes().end, level, terms).map_err(Unmerged::Write)?;
    let mut inputs: Vec<Input<'_>> = runs
        .iter()
        .map(|run| Input { run, scan: run.scan(), shift: run.indexes().start - first, next: None })
        .collect();
    for input in &mut inputs {
        input.step()?;
    }
    // A term's entries in an older run all come before those in a newer one.
    while let Some(term) = inputs.iter().filter_map(Input::term).min() {
        for input in inputs.iter_mut() {
            while let Some((_, offset)) = input.next.filter(|(next, _)| *next == term) {
                writer.push((term, input.shift + offset)).map_err(Unmerged::Write)?;
                input.step()?;
            }
        }
    }
    let samples = Samples(runs.iter().flat_map(|run| run.samples().0.iter().copied()).collect());
    writer.finish(origin, &samples, newest.footer().last_leaf_hash).map_err(Unmerged::Write)
}

struct Input<'a> {
    run: &'a Arc<Run>,
    scan: Scan<'a>,
    /// How far its first entry lies behind the merged run's.
    shift: u64,
    next: Option<Posting>,
}

impl Input<'_> {
    fn step(&mut self) -> Result<(), Unmerged> {
        self.next = self.scan.posting().map_err(|error| Unmerged::Read(Unread(Arc::clone(self.run), error)))?;
        Ok(())
    }

    fn term(&self) -> Option<Term> {
        self.next.map(|(term, _)| term)
    }
}

struct Writer {
    file: Temporary,
    packer: Packer,
    directory: Vec<Posting>,
    bloom: Bloom,
    last_term: Option<Term>,
    terms: u64,
    indexes: Range<u64>,
    level: u32,
}

impl Writer {
    fn create(dir: &Path, indexes: Range<u64>, level: u32, terms: u64) -> io::Result<Self> {
        let bloom = Bloom::new(terms, BLOOM_BYTES_AN_ENTRY.saturating_mul(indexes.end - indexes.start));
        let file = Temporary::create(files::run_path(dir, &indexes))?;
        let (packer, directory) = (Packer::default(), Vec::new());
        Ok(Self { file, packer, directory, bloom, last_term: None, terms: 0, indexes, level })
    }

    /// Adds a posting, greater than the one before.
    fn push(&mut self, posting: Posting) -> io::Result<()> {
        if self.last_term.replace(posting.0) != Some(posting.0) {
            self.bloom.insert(posting.0);
            self.terms += 1;
        }
        let begins = self.packer.is_empty();
        if !self.packer.push(posting) {
            self.write_block()?;
            // A posting is at most 21 bytes long.
            self.packer.push(posting);
            self.directory.push(posting);
        } else if begins {
            self.directory.push(posting);
        }
        Ok(())
    }

    fn finish(mut self, origin: &[u8; 32], samples: &Samples, last_leaf_hash: [u8; 32]) -> io::Result<Run> {
        if !self.packer.is_empty() {
            self.write_block()?;
        }
        let mut crc = crc32fast::Hasher::new();
        let file = &mut self.file;
        let mut write = |number: u64| {
            crc.update(&number.to_be_bytes());
            file.write(&number.to_be_bytes())
        };
        for (Term(term), offset) in &self.directory {
            write(*term)?;
            write(*offset)?;
        }
        for word in self.bloom.words() {
            write(*word)?;
        }
        for sample in &samples.0 {
            write(sample.index)?;
            write(sample.time_unix_micros)?;
        }
        let footer = Footer {
            level: self.level,
            indexes: self.indexes.clone(),
            blocks: self.directory.len() as u64,
            terms: self.terms,
            bloom_words: self.bloom.words().len() as u64,
            bloom_probes: self.bloom.probes(),
            samples: samples.0.len() as u64,
            last_leaf_hash,
            tail_crc: crc.finalize(),
        };
        self.file.write(&footer.encode(origin))?;
        let Self { file, directory, bloom, .. } = self;
        drop((directory, bloom));
        Run::open(file.publish()?, origin)
    }

    fn write_block(&mut self) -> io::Result<()> {
        // The block's first posting is in the directory already.
        let number = self.directory.len().saturating_sub(1) as u64;
        let block = self.packer.take(number);
        self.file.write(&block)
    }
}

/// Packed, with its share of the directory.
const POSTING_BYTES_MAX: u64 = 22;
/// What the last block does not use, and the footer.
const REST_BYTES_MAX: u64 = 4_096 + 256;
/// How much memory an entry may cost by its run's filter: 5 million entries, 20 MB.
const BLOOM_BYTES_AN_ENTRY: u64 = 4;
