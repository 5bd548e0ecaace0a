//! The directory is a log for any standard tool: tlog_tiles, which shares no code with ours, reads it as a web server would
//! serve it.

use std::{fs, path::PathBuf};

use privet::audit::tiles::path;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    checkpoint::Checkpoint as TheirCheckpoint,
    tile,
    tlog::{self, HashReader as _},
};

use super::*;

struct Served(PathBuf);

impl Served {
    fn get(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

impl tile::TileReader for Served {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tile::Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        // Theirs writes the height into the path, the way of the Go checksum database.
        Ok(tiles.iter().map(|tile| self.get(&tile.path().replacen("tile/8/", "tile/", 1))).collect())
    }

    fn save_tiles(&self, _: &[tile::Tile], _: &[Vec<u8>]) {}
}

/// The checkpoint in the directory, as they read it.
fn checkpoint(log: &Log, served: &Served) -> TheirCheckpoint {
    let note = Note::from_bytes(&served.get("checkpoint")).unwrap();
    let verifier = StandardVerifier::new(&log.key.verifier().to_string()).unwrap();
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    TheirCheckpoint::from_bytes(note.text()).unwrap()
}

/// After each seal, also while the store has not taken it yet; sizes with no, one and two levels of partial tiles.
#[test]
fn after_each_seal_a_standard_client_finds_the_whole_log() {
    let ends = [256, 1_024, 65_536, 65_536 + 512];
    let (log, disk) = (Log::sized(ends[3]), tempfile::tempdir().unwrap());
    let served = Served(disk.path().join("archive"));
    let archive = log.open(&served.0, 0).unwrap();
    let mut start = 0;
    for end in ends {
        let _sealed = log.seal(&archive, start..end).unwrap();
        let checkpoint = checkpoint(&log, &served);
        assert_eq!((checkpoint.origin(), checkpoint.size()), (ORIGIN, end));
        // Their reader checks each tile against the root before it uses it.
        let reader = tile::TileHashReader::new(end, *checkpoint.hash(), &served);
        for first in [0, start / 256 * 256, end - 256] {
            let path = path::Path::new(path::Content::Entries(first / 256), 256).unwrap();
            let bundle = fs::read(Archive::path(&served.0, path)).unwrap();
            let mut rest = bundle.as_slice();
            for index in first..first + 256 {
                let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                let hash = tlog::record_hash(&rest[2..2 + length]);
                rest = &rest[2 + length..];
                let stored = reader.read_hashes(&[tlog::stored_hash_index(0, index)]).unwrap();
                assert_eq!(stored[0].0, hash.0, "{index} of {end}");
            }
            assert!(rest.is_empty());
        }
        for index in [0, start, end / 2, end - 1] {
            let proof = tlog::prove_record(end, index, &reader).unwrap();
            let leaf = tlog::record_hash(&entry(index));
            tlog::check_record(&proof, end, *checkpoint.hash(), index, leaf).unwrap();
        }
        if start > 0 {
            let proof = tlog::prove_tree(end, start, &reader).unwrap();
            let before = tlog::Hash(log.roots[&start]);
            tlog::check_tree(&proof, end, *checkpoint.hash(), start, before).unwrap();
        }
        // All tiles that they know of, none of them only by its name.
        for tile in tile::Tile::new_tiles(8, 0, end) {
            let bytes = served.get(&tile.path().replacen("tile/8/", "tile/", 1));
            assert_eq!(bytes.len(), tile.width() as usize * 32, "{}", tile.path());
        }
        assert_whole(&log, &archive, end);
        start = end;
    }
}
