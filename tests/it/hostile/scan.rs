//! Looks for values and keys in bytes: whatever a value was written as, and whatever part of a key.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::Path,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// What must not be found.
#[derive(Default)]
pub struct Wanted {
    /// Each form of each value, by its first eight bytes.
    values: HashMap<u64, Vec<Form>>,
    /// Every eight bytes of every key.
    key_windows: HashSet<u64>,
    /// A coarse sieve before both: most bytes are nothing that is looked for.
    sieve: Sieve,
}

struct Form {
    bytes: Vec<u8>,
    name: String,
}

impl Wanted {
    /// Looks for a value of at least twelve bytes, in every form.
    pub fn add_value(&mut self, value: &[u8]) {
        assert!(value.len() >= 12, "what is short is found by chance");
        for (how, bytes) in forms(value) {
            let start = u64::from_be_bytes(*bytes.first_chunk().unwrap());
            self.sieve.add(start);
            let name = format!("{} as {how}", String::from_utf8_lossy(value));
            self.values.entry(start).or_default().push(Form { bytes, name });
        }
    }

    /// Looks for any eight bytes in a row of a key: raw, in hexadecimal, or in Base64.
    pub fn add_key(&mut self, key: &[u8]) {
        for window in key.windows(8) {
            let window = u64::from_be_bytes(window.try_into().unwrap());
            self.sieve.add(window);
            self.key_windows.insert(window);
        }
    }

    /// Everything found in these bytes.
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(8).enumerate() {
            let window = u64::from_be_bytes(window.try_into().unwrap());
            if self.sieve.may_hold(window) {
                if self.key_windows.contains(&window) {
                    found.insert("a key, raw".to_owned());
                }
                let forms = self.values.get(&window).into_iter().flatten();
                found.extend(forms.filter(|form| bytes[at..].starts_with(&form.bytes)).map(|form| form.name.clone()));
            }
            if window & 0x8080_8080_8080_8080 == 0 {
                if self.is_key_in_hex(&bytes[at..]) {
                    found.insert("a key, in hexadecimal".to_owned());
                }
                if self.is_key_in_base64(&bytes[at..]) {
                    found.insert("a key, in Base64".to_owned());
                }
            }
        }
        found
    }

    /// Everything found in the files of a directory, and how many bytes they hold. Leaves out entries of these names.
    pub fn find_in_files(&self, path: &Path, without: &[&str]) -> (BTreeSet<String>, usize) {
        if path.is_file() {
            let bytes = fs::read(path).unwrap();
            // The store's reserve, and much of it.
            if bytes.iter().all(|byte| *byte == 0) {
                return (BTreeSet::new(), 0);
            }
            let name = path.display();
            return (self.find(&bytes).iter().map(|what| format!("{what}, in {name}")).collect(), bytes.len());
        }
        let (mut found, mut length) = (BTreeSet::new(), 0);
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            // A name tells as much as a content.
            found.extend(self.find(entry.file_name().as_encoded_bytes()));
            if !without.iter().any(|name| entry.file_name() == *name) {
                let (more, bytes) = self.find_in_files(&entry.path(), without);
                found.extend(more);
                length += bytes;
            }
        }
        (found, length)
    }

    fn is_key_in_hex(&self, text: &[u8]) -> bool {
        let mut window = [0; 8];
        text.get(..16).is_some_and(|text| hex::decode_to_slice(text, &mut window).is_ok())
            && self.key_windows.contains(&u64::from_be_bytes(window))
    }

    /// Twelve characters are nine bytes; those of a key of 32 that begins anywhere in a text are met at some position.
    fn is_key_in_base64(&self, text: &[u8]) -> bool {
        let Some(text) = text.get(..12) else { return false };
        [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].into_iter().any(|alphabet| {
            let mut nine = [0; 9];
            alphabet.decode_slice(text, &mut nine).is_ok()
                && self.key_windows.contains(&u64::from_be_bytes(*nine.first_chunk().unwrap()))
        })
    }
}

/// The ways in which a value may have been written.
pub fn forms(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![
        ("raw".to_owned(), value.to_vec()),
        ("lower-case hexadecimal".to_owned(), hex::encode(value).into_bytes()),
        ("upper-case hexadecimal".to_owned(), hex::encode_upper(value).into_bytes()),
        ("a list of numbers".to_owned(), list(value).into_bytes()),
    ];
    for (alphabet, name) in [(&STANDARD_NO_PAD, "Base64"), (&URL_SAFE_NO_PAD, "URL-safe Base64")] {
        for before in 0..3 {
            forms.push((format!("{name} after {before} bytes"), base64_after(alphabet, before, value)));
        }
    }
    let text: Vec<u16> = match str::from_utf8(value) {
        Ok(text) => text.encode_utf16().collect(),
        Err(_) => value.iter().copied().map(u16::from).collect(),
    };
    forms.push(("UTF-16LE".to_owned(), text.iter().flat_map(|unit| unit.to_le_bytes()).collect()));
    forms.push(("UTF-16BE".to_owned(), text.iter().flat_map(|unit| unit.to_be_bytes()).collect()));
    forms
}

/// As Rust prints bytes.
fn list(value: &[u8]) -> String {
    value.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// The characters that a value alone decides when it is written behind other bytes, and before others.
fn base64_after(alphabet: &impl Engine, before: usize, value: &[u8]) -> Vec<u8> {
    let text = alphabet.encode([&vec![0; before], value].concat()).into_bytes();
    let (first, end) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
    text[first..end].to_vec()
}

/// Says "no" for sure, or "perhaps".
struct Sieve(Vec<bool>);

impl Default for Sieve {
    fn default() -> Self {
        Self(vec![false; 1 << SIEVE_BITS])
    }
}

impl Sieve {
    fn add(&mut self, window: u64) {
        self.0[Self::place(window)] = true;
    }

    fn may_hold(&self, window: u64) -> bool {
        self.0[Self::place(window)]
    }

    fn place(window: u64) -> usize {
        (window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SIEVE_BITS)) as usize
    }
}

const SIEVE_BITS: u32 = 24;

#[test]
fn every_form_of_a_value_and_every_part_of_a_key_is_found() {
    let (value, key) = ("Zoë Canary 0123".as_bytes(), [&[0xfb; 16][..], &(0..16).collect::<Vec<u8>>()].concat());
    let mut wanted = Wanted::default();
    wanted.add_value(value);
    for (how, form) in forms(value) {
        for before in 0..4 {
            let noise = [&vec![b'~'; before][..], &form, b"~~~"].concat();
            assert!(wanted.find(&noise).iter().any(|found| found.ends_with(&how)), "{how}");
            let cut = &noise[..noise.len() - 4];
            assert!(!wanted.find(cut).iter().any(|found| found.ends_with(&format!("as {how}"))), "{how}");
        }
    }
    for before in 0..3 {
        let noise = [&vec![b'~'; before][..], value].concat();
        for text in [STANDARD_NO_PAD.encode(&noise), URL_SAFE_NO_PAD.encode(&noise)] {
            assert!(!wanted.find(text.as_bytes()).is_empty(), "{text}");
        }
    }
    let mut wanted = Wanted::default();
    wanted.add_key(&key);
    for at in 0..=key.len() - 8 {
        let window = &key[at..at + 8];
        assert_eq!(wanted.find(&[b"~~~", window].concat()).len(), 1);
        assert_eq!(wanted.find(hex::encode(window).as_bytes()).len(), 1);
        assert_eq!(wanted.find(hex::encode_upper(window).as_bytes()).len(), 1);
        assert!(wanted.find(&window[..7]).is_empty());
    }
    for before in 0..3 {
        let noise = [&vec![b'~'; before][..], &key].concat();
        for text in [STANDARD_NO_PAD.encode(&noise), URL_SAFE_NO_PAD.encode(&noise)] {
            assert!(!wanted.find(text.as_bytes()).is_empty(), "{text}");
        }
    }
}
