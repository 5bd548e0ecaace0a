//! How long a log takes to open and how much room it takes, before and after it is sealed; and proofs from what is sealed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use privet::store::sled::SledStore;

use super::{
    Size,
    corpus::{self, Corpus},
    history,
};
use crate::{
    compare::{Plan, Row},
    disk::Disk,
    report::Fact,
};

/// Every name of what is measured here.
pub const NAMES: [&str; 5] =
    ["room", "open", "inclusion proof, sealed", "consistency proof, sealed", "subject, sealed"];

/// Measures room, opening, and the larger log once it is sealed.
pub fn measure(plan: &Plan, disk: &Disk, corpus: Arc<Corpus>, size: Size, rows: &mut Vec<Row>, facts: &mut Vec<Fact>) {
    if !NAMES.iter().any(|name| size.is_wanted(plan, name)) {
        close(corpus);
        return;
    }
    let place = corpus.place.clone();
    let of = |name: &str, bytes: u64| Fact::new(size.row(name), bytes as f64 / size.entries as f64, "bytes an entry");
    facts.push(of("room in the store", bytes_below(&place.join(corpus::STORE))));
    facts.push(of("room of the index", corpus.index.bytes_on_disk()));
    close(corpus);
    facts.extend(open(&place, "open", size));

    let corpus = Arc::new(Corpus::open(&place));
    corpus.follow();
    let began = Instant::now();
    corpus.tend(0);
    facts.push(Fact::millis(size.row("seal and remove"), began.elapsed()));
    let archive = corpus.log.history().archive().unwrap();
    facts.push(of("room of the archive", archive.bytes().unwrap()));
    facts.push(of("room in the store, sealed", bytes_below(&place.join(corpus::STORE))));
    if !size.is_small {
        history::proofs(plan, disk, &corpus, size, ", sealed", rows);
        let name = "subject, sealed";
        if size.is_wanted(plan, name) {
            let (row, fact) = history::queries(plan, disk, &corpus, size, name, history::subject);
            rows.push(row);
            facts.push(fact);
        }
    }
    close(corpus);
    facts.extend(open(&place, "open, sealed", size));
}

/// The shortest of a few times.
fn open(place: &Path, name: &str, size: Size) -> [Fact; 3] {
    let opened: Vec<[Duration; 3]> = (0..OPENED).map(|_| open_once(place)).collect();
    let shortest = |part: usize| opened.iter().map(|parts| parts[part]).min().unwrap();
    let fact = |part, what: &str| Fact::millis(size.row(&format!("{name}: {what}")), shortest(part));
    [fact(0, "store"), fact(1, "log"), fact(2, "index")]
}

const OPENED: usize = 3;

/// How long it takes to open store, log and index.
pub fn open_once(place: &Path) -> [Duration; 3] {
    let runtime = corpus::runtime();
    let began = Instant::now();
    let store = Arc::new(SledStore::open(&place.join(corpus::STORE)).unwrap());
    let store_took = began.elapsed();
    let began = Instant::now();
    let (log, ending) = corpus::open_log(&runtime, store, place, None);
    let log_took = began.elapsed();
    let began = Instant::now();
    let index = corpus::open_index(&log, place);
    let index_took = began.elapsed();
    drop((index, log));
    ending.join();
    [store_took, log_took, index_took]
}

fn close(corpus: Arc<Corpus>) {
    Arc::into_inner(corpus).unwrap().close();
}

/// The room that files take, without the reserve for a full disk.
pub fn bytes_below(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|file| file.file_name() != "reserve");
    files
        .map(|file| match file.metadata().unwrap() {
            found if found.is_dir() => bytes_below(&file.path()),
            found => found.blocks() * 512,
        })
        .sum()
}
