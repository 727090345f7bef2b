//! Fixed private keys for tests, so that no test waits for key making and every run is the same.
//! TEST ONLY: they are public. Present under the feature `test-keys` and in this crate's own tests.

use crate::encoding::base64_decode_any;
use crate::signing_key::{AssertionKey, SigningKey};

/// Longest test key in bytes of DER.
const KEY_BYTES_MAX: usize = 2048;

/// TEST ONLY. RSA-2048 private key, PKCS#8 DER in base64.
pub const RSA_PKCS8: &str = "\
    MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDVSECd8jx04QlQ325iyeMhB52VNEEUuc8zFOnqNcTF\
    +4eABM2RmZTwkw9tu9KZeBuL4+xYee6aiVn95GTKAAGGkZpIQYd3rpj4hCiWBswci35iaUk+AFRQ157y/RNtFMoPEf7z\
    cNfTDagNJKJTHrJAlMpKadyNNC9Ny+8fG5srkV0DL5jY9U1f22CatXq4D7UuBzEgT64giIGdrXPlBYltalIWwfgPx7mZ\
    SVPjBb5eku2MoNCu0Sh225WKJUfV09CFyoJSUL0nVMK95nLvldu4SlXrgB6VvBoWmkYOp6AAnjtUTwVkvh7WG3Pzf5/7\
    R1XmAApvAFrmFJaEwS2IrtuBAgMBAAECggEAX74A/8YrfH4+q9a421DsjDm6dC2SX4bvq+sh/FjpvcRldcLyMv+iHAKw\
    JN7xMaJ4nyoQQUFvKmEpDC+4TPOGu81l2DTOZpvyoHDXNU3U16WI9Q11awdD0kyQ1lxkGY4BDJXUAJ0xzVTukQPWeICp\
    nRMN4iy2bI62A3LeI3VFiV7zoR/U7F2dAIzST1UTbKP94pIov1X5l0GraX0u3wrMmFESL/BT2pplCB4J+Ia+NwJn7I6l\
    S0LjoJd35SvuqwmwXNR9HWL9KOSera77NfxENdUAA/winymK7mRceIHXqXs6KObXkC874y0+Rkuh2i4MWxK01Mt1Lgh5\
    /ewAxTNzrwKBgQD/to0zULp/IhttRs1iyicDljblZRDAud7lMqKF1bMbyz9CFS4Q4GH4igTRCWxjW9Jb800OEnx5bouF\
    EHyz+qU3eNAXRGCK1Gtbt/n7TjflWIaJjEy8/ZiwXbRyb+Mza6utR7z0wY7K7XxHC6ha+Zpef3Ec+YrcQvY4L5gvCMe5\
    jwKBgQDVhYNwmnWgQW6iXIFBIUsVcLUxCxc9Tow+4LF/0fyKih+6f6t13QVDmApesIDbrAwc/NSlmrTSOgmweygdl2sv\
    M/Ic5ZHzySOy7O9y1OYV/shNg5yY190nkE94kQ4VKV+gEJuvXpYxxcvgZCHyRJjWy1Pz2sU94it8cQOs2Gfx7wKBgQDw\
    efzQBVtds/WXDr6X6QRHmzyE/kaC+EllwfiVZCLMQJd8ze5EcL+xvBpLe1EzH2b0khok4b2tdQhAWwDrQQue3z7Sorsn\
    1BwiZSHx890dEeNz9z0zfknZkkXgWNiRwu/wRUat5lki/bOiHJR2+cTymWcGmKa9/TsQG7JCiT9KgQKBgQC+Y7eo/0Fl\
    LRL+WSezsIEn1ADsgywssU5ifq4nAFGEItdZz59OkE6yT+7nMdEkj0uZyWO/aqxTTAb5w0co46xiQZpgY995ll9rmtOD\
    /AxRjoaCf5lxvAFp1sbWBdmdyu+GZWi8vcWFCg7Zvc97G+mAlXr9VJRNss79vjP9ulUtJwKBgQDcpnz1ougjxTxo4WqI\
    qNLDdbq0g9czbx3xrj2YUe+CCxs5whvD8pMtGJ/MsZG4WBvgAKSpifUhEv79sSHehWNJvbpdsu9GS91CK4b+mGIDl0+q\
    Pij6nC6LV7I2usQKSZQcuICA149PPr7lyXxT6zEM0p3mjJxmsNX8mKwaL2HQsQ==";

/// TEST ONLY. P-256 private key, PKCS#8 DER in base64.
pub const P256_PKCS8: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZ7KlXAEmhOTUUSE1oLkOVW11llDRpqJFo84EVjmMwIeh\
    RANCAASpfDg3jxgZFNtiR7GpTnIdBrKXJeB9ajv75z0qte4+A00WiAewVnCuDBvnTje/YphYhHxDA0qd6JWeaGZAnETQ";

/// TEST ONLY. The same token-signing key each time.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
#[expect(clippy::expect_used, reason = "for tests, and the input is a constant")]
pub fn signing_key() -> SigningKey {
    SigningKey::from_pkcs8(&pkcs8(RSA_PKCS8)).expect("the RSA test key is valid")
}

/// TEST ONLY. The same identity credential key each time.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
#[expect(clippy::expect_used, reason = "for tests, and the input is a constant")]
pub fn assertion_key() -> AssertionKey {
    AssertionKey::from_pkcs8(&pkcs8(P256_PKCS8)).expect("the P-256 test key is valid")
}

#[expect(clippy::expect_used, reason = "for tests, and the input is a constant")]
fn pkcs8(base64: &str) -> Vec<u8> {
    base64_decode_any(base64, KEY_BYTES_MAX).expect("the test key is base64")
}
