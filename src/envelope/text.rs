//! A field as text, for command lines and JSON: `pv1_` and unpadded base64url (RFC 4648 section 5).
//!
//! One field has one text: padding, another alphabet and stray trailing bits are refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::field::InvalidCiphertext;

/// A ciphertext as text.
pub fn to_text(ciphertext: &[u8]) -> String {
    let mut text = PREFIX.to_owned();
    URL_SAFE_NO_PAD.encode_string(ciphertext, &mut text);
    text
}

/// A ciphertext out of its text; whether it opens is not looked at.
///
/// # Errors
/// [`InvalidCiphertext`] if it isn't what [`to_text`] writes.
pub fn from_text(text: &str) -> Result<Vec<u8>, InvalidCiphertext> {
    let body = text.strip_prefix(PREFIX).ok_or(InvalidCiphertext)?;
    URL_SAFE_NO_PAD.decode(body).map_err(|_| InvalidCiphertext)
}

const PREFIX: &str = "pv1_";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_text_of_a_field_is_read() {
        assert_eq!(to_text(&[1, 0xfb, 0xff, 7]), "pv1_Afv_Bw");
        assert_eq!(from_text("pv1_Afv_Bw"), Ok(vec![1, 0xfb, 0xff, 7]));
        for bad in [
            "",
            "pv1",
            "Afv_Bw",
            "PV1_Afv_Bw",
            "pv2_Afv_Bw",
            "pv1_Afv_Bw==",
            "pv1_Afv/Bw",
            "pv1_Afv_Bx",
            "pv1_Afv_B",
            " pv1_Afv_Bw",
            "pv1_Afv_Bw\n",
            "pv1_Afv_B\u{e9}",
        ] {
            assert_eq!(from_text(bad), Err(InvalidCiphertext), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(from_text(&to_text(&bytes)), Ok(bytes));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "(pv1_)?[A-Za-z0-9_=+/-]{0,12}") {
            if let Ok(bytes) = from_text(&text) {
                prop_assert_eq!(to_text(&bytes), text);
            }
        }
    }
}
