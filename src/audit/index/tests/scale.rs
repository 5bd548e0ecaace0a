//! What it costs, at a size that runs everywhere.

use super::*;
use crate::{
    audit::record::ALIAS_BYTES,
    id::Tenant,
    proto::stored::{self, Operation, Target, Verdict},
};

const ENTRIES: u64 = 200_000;

/// Every 4,000th entry is about the one subject; each of the others about one of many.
fn entry(index: u64) -> stored::Entry {
    let subject = if index % 4_000 == 77 { u64::MAX } else { index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 40_000 };
    stored::Entry {
        tenant: format!("tenant-{}", index % 3),
        principal: format!("spiffe://acme.example/service-{}", index % 20),
        operation: if index.is_multiple_of(5) { Operation::Encrypt.into() } else { Operation::Decrypt.into() },
        verdict: if index.is_multiple_of(100) { Verdict::Deny.into() } else { Verdict::Allow.into() },
        targets: vec![Target {
            object: ["pii/account/email", "pii/account/name", "pii/billing/tax_id"][(index / 7 % 3) as usize].into(),
            aliases: alias(subject).to_vec(),
            ..Target::default()
        }],
        time_unix_micros: index * 10,
        ..stored::Entry::default()
    }
}

fn alias(subject: u64) -> [u8; ALIAS_BYTES] {
    (u128::from(subject) << 64 | u128::from(subject)).to_be_bytes()
}

fn leaf_hash(index: u64) -> [u8; 32] {
    let mut hash = [0x5a; 32];
    hash[..8].copy_from_slice(&index.to_be_bytes());
    hash
}

#[test]
fn rare_terms_cost_a_block_a_run_and_entries_few_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), "log", 0..ENTRIES).unwrap();
    for start in (0..ENTRIES).step_by(1_000) {
        let entries: Vec<_> =
            (start..start + 1_000).map(|index| Indexed::new(index, leaf_hash(index), &entry(index))).collect();
        index.add(&entries).unwrap();
    }
    let runs = index.state().runs.len();
    assert_eq!(runs, 3);

    // The one subject's 50 entries, of all three tenants; one tenant's are asked for.
    let acme = Query::new(&Tenant::parse("tenant-1").unwrap());
    let expected: Vec<u64> = (77..ENTRIES).step_by(4_000).filter(|index| index % 3 == 1).collect();
    let found = index.find(&acme.clone().subject(&alias(u64::MAX)), 0..ENTRIES, Direction::Ascending, 100).unwrap();
    assert_eq!((found.candidates, found.looked), (expected.clone(), 0..ENTRIES));
    assert!(found.blocks <= 2 * runs, "{} blocks", found.blocks);

    // Two terms together: the rare one leads, the dense one costs at most a block a candidate.
    let denied = acme.clone().subject(&alias(u64::MAX)).operation(Operation::Decrypt);
    let found = index.find(&denied, 0..ENTRIES, Direction::Descending, 100).unwrap();
    let both: Vec<u64> = expected.iter().copied().rev().filter(|index| !index.is_multiple_of(5)).collect();
    assert!(found.candidates == both && found.blocks <= 2 * runs + expected.len(), "{} blocks", found.blocks);

    // A page of a dense query ends where it is full.
    let found = index.find(&acme, 0..ENTRIES, Direction::Descending, 100).unwrap();
    assert!(found.candidates.len() == 100 && found.blocks == 0, "the newest are in memory");
    let found = index.find(&acme, 0..100_000, Direction::Descending, 100).unwrap();
    assert!(found.candidates.len() == 100 && found.blocks <= 2, "{} blocks", found.blocks);

    let (mut rest, mut all) = (0..ENTRIES, Vec::new());
    while !rest.is_empty() {
        let found = index.find(&acme, rest.clone(), Direction::Ascending, 10_000).unwrap();
        all.extend(found.candidates);
        rest.start = found.looked.end;
    }
    assert!(all.iter().copied().eq((1..ENTRIES).step_by(3)), "each of the tenant's, over many blocks");

    for at in [0, 70_000, 150_000, ENTRIES - 1] {
        let found = index.leaf(&leaf_hash(at)).unwrap();
        assert!(found.candidates == [at] && found.blocks <= runs, "{found:?}");
    }
    let absent = (0..300).map(|n| index.leaf(&leaf_hash(ENTRIES + n)).unwrap().blocks).sum::<usize>();
    assert!(absent <= 60, "the filters keep most searches for what is not there from reading: {absent} blocks");

    let indexed = index.state().table.indexes().start;
    let bytes = index.bytes_on_disk() as f64 / indexed as f64;
    assert!(bytes < 32.0, "{bytes} bytes an entry");
    assert!(index.time_floor(1_500_000) > 148_000 && index.time_floor(1_500_000) <= 150_000);
}
