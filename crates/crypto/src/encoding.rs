//! Base64 and hexadecimal as the wire writes them. Source: RFC 4648 sections 4, 5 and 8.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

const PADDING_OPTIONAL: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PADDING_OPTIONAL);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PADDING_OPTIONAL);

/// Base64 in the URL alphabet without padding, as JWTs use it.
#[must_use]
pub fn base64url_encode(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64 in the standard alphabet with padding, as `x5c` and PEM use it.
#[must_use]
pub fn base64_encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Decodes the URL alphabet strictly but for padding, which may be there or not.
pub(crate) fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    URL.decode(text).ok()
}

/// Decodes base64 in either alphabet, with or without padding, ignoring ASCII whitespace.
///
/// `None` if it is no base64, or if it could decode to more than `max_len` bytes.
#[must_use]
pub fn base64_decode_any(text: &str, max_len: usize) -> Option<Vec<u8>> {
    let characters_max = max_len.div_ceil(3).checked_mul(4)?;
    let standard: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .take(characters_max.saturating_add(1))
        .collect();
    if standard.len() > characters_max {
        return None;
    }
    STANDARD.decode(standard).ok().filter(|bytes| bytes.len() <= max_len)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex_encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal of exactly `N` bytes, in either case.
#[must_use]
pub fn hex_decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |high, low| high << 4 | low);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_base64_is_decoded() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ", "-__-AQ==", "-_/+\r\n AQ=\n=", "+//+AQ="] {
            assert_eq!(base64_decode_any(text, 4).as_deref(), Some(&bytes[..]), "{text}");
        }
    }

    #[test]
    fn what_is_no_base64_or_too_long_is_refused() {
        for text in ["+//+A", "+//+AR==", "====", "+//+AQ==x", "é", "+//+AQEB"] {
            assert_eq!(base64_decode_any(text, 4), None, "{text}");
        }
        assert_eq!(base64_decode_any("", 0).as_deref(), Some(&[][..]));
        assert_eq!(base64_decode_any("AA", 0), None);
    }

    #[test]
    fn hexadecimal_is_whole_bytes_of_the_length_that_is_meant() {
        assert_eq!(hex_decode("00aFf1"), Some([0x00, 0xaf, 0xf1]));
        for text in ["", "00aff", "00aff", "00aff100", "00af+1", "00afg1", "00afé"] {
            assert_eq!(hex_decode::<3>(text), None, "{text}");
        }
    }

    #[test]
    fn encodings_are_the_documented_ones() {
        assert_eq!(base64url_encode(&[0xfb, 0xff, 0xfe, 0x01]), "-__-AQ");
        assert_eq!(base64_encode(&[0xfb, 0xff, 0xfe, 0x01]), "+//+AQ==");
        assert_eq!(hex_encode(&[0, 0xab, 0x1f]), "00ab1f");
    }
}
