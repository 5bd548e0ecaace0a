//! How answers are written: results on standard output, what accompanies them on standard error.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    failure::Failure,
    table::number,
    terminal::{Terminal, printable_json, printable_lines},
};
use crate::proto::v1::Receipt;

/// Writes to standard output.
///
/// # Errors
/// [`Failure`] if it can't be written; one without a message if nobody reads it any more.
pub fn put(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::output)
}

/// Writes one JSON object on a line of its own.
///
/// # Errors
/// As for [`put`].
pub fn put_json(value: &Value) -> Result<(), Failure> {
    put(format!("{}\n", printable_json(value)).as_bytes())
}

/// Writes an opened value: byte for byte into a pipe, and made harmless on a terminal.
///
/// # Errors
/// As for [`put`].
pub fn put_value(value: &[u8], terminal: &Terminal) -> Result<(), Failure> {
    if !terminal.stdout {
        return put(value);
    }
    put(format!("{}\n", printable_lines(&String::from_utf8_lossy(value))).as_bytes())
}

/// Tells what was done and where it is recorded, if somebody is there to read it.
pub fn tell(what: &str, receipts: &[Receipt], terminal: &Terminal) {
    if terminal.details() {
        let (dim, plain) = if terminal.colour_stderr() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let recorded: Vec<_> = receipts
            .iter()
            .map(|receipt| {
                let leaf = hex::encode(receipt.leaf_hash.get(..8).unwrap_or(&receipt.leaf_hash));
                format!("entry {} (leaf {leaf}…)", number(receipt.entry_index))
            })
            .collect();
        eprintln!("{dim}{what}; recorded as {}{plain}", recorded.join(", "));
    }
}

/// Receipts for machines.
pub fn receipts(receipts: &[Receipt]) -> Value {
    let receipt = |r: &Receipt| {
        json!({
            "origin": r.origin,
            "entry_index": r.entry_index,
            "leaf_hash": hex::encode(&r.leaf_hash),
            "checkpoint": r.checkpoint,
        })
    };
    receipts.iter().map(receipt).collect()
}

/// A value for machines: as text if it is UTF-8, else as base64 under `plaintext_base64`.
pub fn plaintext(value: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(value) {
        Ok(text) => ("plaintext", text.into()),
        Err(_) => ("plaintext_base64", STANDARD.encode(value).into()),
    }
}

/// An answer that does not fit its question.
pub fn misfit() -> Failure {
    Failure::unavailable("the server's answer does not fit the question; is it a Privet server of this version?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_text_is_base64_for_machines() {
        assert_eq!(plaintext("Zoë".as_bytes()), ("plaintext", "Zoë".into()));
        assert_eq!(plaintext(&[0xff, 0]), ("plaintext_base64", "/wA=".into()));
    }
}
