//! What a record keeps, refuses and has room for.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{id::Tenant, keyring::slots::Tag, secret::Key, store::ReadPoint};

const TAG: Tag = Tag([0x11; 16]);

fn bucket() -> Arc<Bucket> {
    Arc::new(Bucket { number: TAG.bucket(), key: Key::new([7; 32]), loaded_at: ReadPoint(0) })
}

fn at(tenant: &Tenant, bucket: &Arc<Bucket>, check: impl FnOnce(Place<'_>)) {
    check(Place { tenant, tag: TAG, bucket });
}

fn category(n: usize) -> Category {
    Category::parse(&format!("{n:032}")).unwrap()
}

fn largest(number: u32) -> Arc<Version> {
    let version = Version::stored(number, KeyId::new([1; 16]), vec![1; WRAPPED_KEY_BYTES], u64::MAX, u64::MAX);
    Arc::new(version)
}

fn stored_version() -> impl Strategy<Value = stored::KeyVersion> {
    (any::<[u8; 16]>(), vec(any::<u8>(), WRAPPED_KEY_BYTES), any::<u64>(), any::<u64>()).prop_map(
        |(key_id, wrapped_key, created_unix_secs, seals)| stored::KeyVersion {
            version: 0,
            key_id: key_id.to_vec(),
            wrapped_key,
            created_unix_secs,
            seals,
        },
    )
}

prop_compose! {
    fn body()(
        alias in any::<[u8; 16]>(),
        categories in vec(vec((stored_version(), 1..1000_u32), 1..8), 0..5),
        holds in vec(("[a-z]{0,20}", "[a-z]{0,20}", any::<u64>()), 0..3),
        closed_unix_secs in any::<u64>(),
        erased in vec(any::<[u8; 16]>(), 0..4),
    ) -> stored::SubjectBody {
        let categories = categories.into_iter().enumerate().map(|(n, versions)| {
            let mut number = 0;
            let versions = versions.into_iter().map(|(version, step)| {
                number += step;
                stored::KeyVersion { version: number, ..version }
            });
            stored::CategoryKeys { category: category(n).to_string(), versions: versions.collect() }
        });
        let holds = holds.into_iter().map(|(id, reason, placed_unix_secs)| {
            stored::Hold { id, reason, placed_unix_secs, placed_by: "spiffe://a/b".into(), reason_salt: vec![5; 16] }
        });
        stored::SubjectBody {
            alias: alias.to_vec(),
            categories: categories.collect(),
            holds: holds.collect(),
            closed_unix_secs,
            loosened_unix_secs: closed_unix_secs / 2,
            erased: erased.into_iter().enumerate().map(|(n, id)| stored::ErasedCategory {
                category: category(1_000 + n).to_string(),
                erasure_id: id.to_vec(),
            }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_as_it_was(body in body(), nonce in any::<[u8; NONCE_BYTES]>()) {
        let tenant = Tenant::parse("acme").unwrap();
        let bucket = bucket();
        let record = Record::from_body(body.clone(), &bucket).unwrap();
        at(&tenant, &bucket, |place| {
            let opened = Record::open(place, &bucket, &record.seal(place, &nonce)).ok().unwrap();
            assert_eq!(opened.body(), body);
        });
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let tenant = Tenant::parse("acme").unwrap();
        let bucket = bucket();
        at(&tenant, &bucket, |place| {
            assert_eq!(Record::open(place, &bucket, &bytes).err(), Some(NotThis::Sealed));
            let framed = stored::SubjectRecord { sealed_body: [&[FORMAT], bytes.as_slice()].concat() };
            assert_eq!(Record::open(place, &bucket, &framed.encode_to_vec()).err(), Some(NotThis::Sealed));
            // Even bytes that the bucket key did seal.
            let mut sealed_body = vec![FORMAT];
            sealed_body.extend(aead::seal(&bucket.key, &[0; NONCE_BYTES], &body_place(place, FORMAT), &bytes));
            let sealed = stored::SubjectRecord { sealed_body }.encode_to_vec();
            assert_ne!(Record::open(place, &bucket, &sealed).err(), Some(NotThis::Sealed));
        });
    }
}

#[test]
fn a_record_opens_in_its_own_place_only_and_unaltered() {
    let (acme, other) = (Tenant::parse("acme").unwrap(), Tenant::parse("other").unwrap());
    let bucket = bucket();
    let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
    record.push(&category(1), largest(1));
    let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
    let sealed = record.seal(place, &[3; NONCE_BYTES]);
    assert!(Record::open(place, &bucket, &sealed).is_ok());

    let refused = |place: Place<'_>, sealed: &[u8]| {
        assert_eq!(Record::open(place, &bucket, sealed).err(), Some(NotThis::Sealed));
    };
    refused(Place { tenant: &other, ..place }, &sealed);
    refused(Place { tag: Tag([0x12; 16]), ..place }, &sealed);
    let elsewhere = Bucket { number: 5, key: Key::new([7; 32]), loaded_at: ReadPoint(0) };
    refused(Place { bucket: &elsewhere, ..place }, &sealed);
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(place, &flipped);
    }
    for len in 0..sealed.len() {
        refused(place, &sealed[..len]);
    }
}

#[test]
fn a_body_that_this_program_never_writes_is_refused() {
    let version = |number| stored::KeyVersion {
        version: number,
        key_id: vec![1; 16],
        wrapped_key: vec![1; WRAPPED_KEY_BYTES],
        created_unix_secs: 1,
        seals: 1,
    };
    let one = |versions| stored::CategoryKeys { category: "account".into(), versions };
    let body = |categories| stored::SubjectBody { alias: vec![1; 16], categories, ..Default::default() };
    let opens = |body| Record::from_body(body, &bucket()).is_some();

    assert!(opens(body(vec![one(vec![version(1), version(3)])])));
    assert!(opens(body(vec![one((1..=64).map(version).collect())])));
    assert!(!opens(body(vec![one((1..=65).map(version).collect())])));
    for versions in [vec![], vec![version(0)], vec![version(2), version(1)], vec![version(1), version(1)]] {
        assert!(!opens(body(vec![one(versions)])));
    }
    assert!(!opens(body(vec![one(vec![version(1)]), one(vec![version(1)])])));
    assert!(!opens(body(vec![one(vec![stored::KeyVersion { key_id: vec![1; 15], ..version(1) }])])));
    assert!(!opens(body(vec![one(vec![stored::KeyVersion { wrapped_key: vec![1; 59], ..version(1) }])])));
    assert!(!opens(body(vec![stored::CategoryKeys { category: "A".into(), versions: vec![version(1)] }])));
    assert!(!opens(stored::SubjectBody { alias: vec![1; 15], ..Default::default() }));
    let erased = |category: &str| stored::ErasedCategory { category: category.into(), erasure_id: vec![1; 16] };
    let with = |erased| stored::SubjectBody { erased, ..body(vec![one(vec![version(1)])]) };
    assert!(opens(with(vec![erased("billing"), erased("usage")])));
    for bad in [vec![erased("account")], vec![erased("")], vec![erased("A")]] {
        assert!(!opens(with(bad)), "keys of what was erased");
    }
    let without = |erased| stored::SubjectBody { erased, ..body(Vec::new()) };
    assert!(opens(without(vec![erased("")])) && !opens(without(vec![erased(""), erased("usage")])));
    assert!(!opens(without(vec![stored::ErasedCategory { erasure_id: vec![1; 15], ..erased("usage") }])));
}

#[test]
fn a_record_from_before_there_were_erasures_opens() {
    let acme = Tenant::parse("acme").unwrap();
    let bucket = bucket();
    let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
    let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
    record.push(&category(1), largest(1));
    let old = |format: u8| {
        let body = record.body().encode_to_vec();
        let sealed = aead::seal(&bucket.key, &[3; NONCE_BYTES], &body_place(place, 1), &body);
        stored::SubjectRecord { sealed_body: [&[format], sealed.as_slice()].concat() }.encode_to_vec()
    };
    for (format, opens) in [(0, false), (1, true), (2, true), (3, false), (4, false)] {
        assert_eq!(Record::open(place, &bucket, &old(format)).is_ok(), opens, "{format}");
    }
    let mut new = stored::SubjectRecord::decode(record.seal(place, &[3; NONCE_BYTES]).as_slice()).unwrap();
    for (format, opens) in [(1, false), (2, false), (3, true), (4, false)] {
        new.sealed_body[0] = format;
        assert_eq!(Record::open(place, &bucket, &new.encode_to_vec()).is_ok(), opens, "{format}");
    }
}

#[test]
fn a_full_record_still_fits_a_stored_value() {
    let acme = Tenant::parse("acme").unwrap();
    for categories in [1, 2, 5, 100] {
        let bucket = bucket();
        let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
        let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
        let mut versions = 0;
        for n in 0.. {
            let category = category(n % categories);
            if !record.has_room(&category, 0) {
                break;
            }
            record.push(&category, largest(u32::MAX - 64 + versions));
            versions += 1;
        }
        let bytes = record.seal(place, &[0; NONCE_BYTES]).len() + HOLDS_BYTES_RESERVED;
        assert!(bytes <= VALUE_BYTES_MAX, "{categories} categories: {bytes}");
        // A category's bound is reached, or else little room was wasted.
        assert!(
            if categories == 1 { versions == 64 } else { bytes > VALUE_BYTES_MAX - 700 },
            "{categories}: {versions}"
        );
    }
}
