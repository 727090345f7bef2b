//! Stores of trusted certificates in the forms that programs read: the name that OpenSSL gives a certificate in a
//! directory, and Java's key store.
//!
//! Source: OpenSSL, `openssl-rehash(1)` and `X509_NAME_hash`; Java, `sun.security.provider.JavaKeyStore`.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::digest::sha1;
use crate::encoding::hex_encode;
use crate::x509::X509Error;

/// Most certificates of one store; systems have about 150.
const CERTIFICATES_MAX: usize = 1024;

/// What OpenSSL calls a certificate (DER) in a directory of certificates, without the number after it: the hash of its
/// subject in canonical form, eight hexadecimal digits.
///
/// # Errors
/// [`X509Error::Malformed`] if the certificate can't be read or its subject has a value that is no text.
pub fn subject_hash(der: &[u8]) -> Result<String, X509Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| X509Error::Malformed)?;
    let mut canonical = Vec::new();
    for names in certificate.subject().iter() {
        let mut set = Vec::new();
        for attribute in names.iter() {
            let value = attribute.as_str().map_err(|_| X509Error::Malformed)?;
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            let kind = attribute.attr_type().as_bytes();
            let mut pair = element(OBJECT_IDENTIFIER, kind);
            pair.extend(element(UTF8_STRING, words.join(" ").to_ascii_lowercase().as_bytes()));
            set.extend(element(SEQUENCE, &pair));
        }
        canonical.extend(element(SET, &set));
    }
    let [first, second, third, fourth, ..] = sha1(&canonical);
    Ok(hex_encode(&[fourth, third, second, first]))
}

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A DER element. Source: X.690 section 8.1.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => element.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let leading = length.iter().take_while(|byte| **byte == 0).count();
            let length = length.get(leading..).unwrap_or_default();
            element.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
            element.extend_from_slice(length);
        }
    }
    element.extend_from_slice(content);
    element
}

/// A key store of Java's own form (JKS) that trusts the certificates of a PEM text; what of it can't be read is passed
/// over. Java reads it without a password; it is made with the customary `changeit`.
#[must_use]
pub fn java_trust_store(bundle_pem: &str) -> Vec<u8> {
    let certificates: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(bundle_pem.as_bytes())
            .filter_map(Result::ok)
            .take(CERTIFICATES_MAX)
            .collect();
    let mut store = Vec::new();
    let put_number = |store: &mut Vec<u8>, number: usize| {
        store.extend(u32::try_from(number).unwrap_or(0).to_be_bytes());
    };
    store.extend_from_slice(&[0xfe, 0xed, 0xfe, 0xed]);
    put_number(&mut store, 2);
    put_number(&mut store, certificates.len());
    for (number, certificate) in certificates.iter().enumerate() {
        put_number(&mut store, TRUSTED_CERTIFICATE);
        put_text(&mut store, &format!("authority-{number}"));
        // When it was added, which nobody asks for.
        store.extend_from_slice(&[0; 8]);
        put_text(&mut store, "X.509");
        put_number(&mut store, certificate.len());
        store.extend_from_slice(certificate);
    }
    let password = "changeit".encode_utf16().flat_map(u16::to_be_bytes);
    let keyed: Vec<u8> =
        password.chain(*b"Mighty Aphrodite").chain(store.iter().copied()).collect();
    store.extend_from_slice(&sha1(&keyed));
    store
}

const TRUSTED_CERTIFICATE: usize = 2;

/// Java's `writeUTF`: a length of two bytes, then the text.
fn put_text(store: &mut Vec<u8>, text: &str) {
    store.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::CertificateAuthority;
    use time::OffsetDateTime;

    fn authority(domain: &str) -> CertificateAuthority {
        CertificateAuthority::generate_tls(domain, &[], OffsetDateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_openssl() {
        // openssl x509 -hash of a certificate with the subject `/CN=keycard local CA for keycard.localhost`.
        let authority = authority("keycard.localhost");
        assert_eq!(subject_hash(authority.certificate_der()).unwrap(), "0077ebf6");
        assert_eq!(subject_hash(b"x"), Err(X509Error::Malformed));
    }

    #[test]
    fn lengths_are_written_as_der_has_them() {
        for (length, head) in
            [(0, &[4, 0][..]), (127, &[4, 127]), (128, &[4, 0x81, 128]), (300, &[4, 0x82, 1, 44])]
        {
            assert!(element(4, &vec![0; length]).starts_with(head), "{length}");
        }
    }

    #[test]
    fn a_java_store_holds_every_certificate_that_can_be_read() {
        let (first, second) = (authority("a.test"), authority("b.test"));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let pem =
            format!("# roots\n{}{broken}{}", first.certificate_pem(), second.certificate_pem());
        let store = java_trust_store(&pem);
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        for der in [first.certificate_der(), second.certificate_der()] {
            assert!(store.windows(der.len()).any(|window| window == der));
        }
        let (content, digest) = store.split_at(store.len() - 20);
        let password: Vec<u8> = b"changeit".iter().flat_map(|byte| [0, *byte]).collect();
        let keyed = [password.as_slice(), b"Mighty Aphrodite", content].concat();
        assert_eq!(digest, sha1(&keyed));
    }
}
