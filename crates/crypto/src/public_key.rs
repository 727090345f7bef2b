//! Public keys that signatures are verified with, and what can be wrong with a key.

use std::str::FromStr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use thiserror::Error;
use x509_parser::oid_registry::OID_EC_P256;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Longest certificate or certificate request that is read, in bytes of DER. Ours take under one
/// kilobyte; those of administrators rarely over three.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// RSA moduli outside these bounds are refused: below they can be broken, above they cost too much.
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// RFC 8017 allows more, but no key in use has a longer public exponent than 32 bits.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The library could not make a key, certificate or request.
    #[error("the key or certificate could not be made")]
    NotMade,
    /// The bytes are no key or certificate of the expected form.
    #[error("the key or certificate could not be read")]
    Malformed,
    /// A well-formed key of a kind or size that is not used here.
    #[error("the key must be RSA of 2048 to 8192 bits, or ECDSA on the curve P-256")]
    Unsupported,
    /// The signature could not be computed.
    #[error("the signature could not be made")]
    NotSigned,
}

/// The signature is not one of this key over this message by this algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not valid")]
pub struct SignatureInvalid;

/// The signature algorithms keycard makes or accepts; all others, `none` and `HS256` above all,
/// have no value here. Source: RFC 7518 section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256; the signature is `r || s`, 64 bytes.
    Es256,
}

impl Algorithm {
    /// The name in a JWT header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }
}

/// The name in a JWT header is none of `RS256`, `PS256`, `ES256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature algorithm must be RS256, PS256 or ES256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "RS256" => Ok(Self::Rs256),
            "PS256" => Ok(Self::Ps256),
            "ES256" => Ok(Self::Es256),
            _ => Err(UnknownAlgorithm),
        }
    }
}

/// A public key of a kind keycard verifies with. Numbers are big-endian without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RSA, 2048 to 8192 bits.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
    },
    /// ECDSA on the curve P-256.
    EcP256 {
        /// Uncompressed point: 4, x, y; 65 bytes. Source: SEC 1 section 2.3.3.
        point: Vec<u8>,
    },
}

impl PublicKey {
    /// An RSA key from its big-endian numbers; leading zeros are dropped.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] outside the sizes above or with an even or oversized exponent.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let exponent_fits = e.len() <= RSA_EXPONENT_BYTES_MAX
            && e.last().is_some_and(|low| low % 2 == 1)
            && e != [1];
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bit_length(n)) || !exponent_fits {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    /// A P-256 key from its uncompressed point. Whether the point is on the curve shows when a
    /// signature is verified.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] unless it's 65 bytes that begin with 4.
    pub fn ec_p256(point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 65 || point.first() != Some(&4) {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::EcP256 { point: point.to_vec() })
    }

    /// The key of an X.509 certificate; nothing else in the certificate is looked at.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if it's no certificate, is followed by more, or exceeds
    /// [`CERTIFICATE_BYTES_MAX`]; [`KeyError::Unsupported`] for other kinds of key.
    pub fn from_certificate_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(KeyError::Malformed);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| KeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(KeyError::Malformed);
        }
        Self::from_parsed(certificate.public_key())
    }

    /// From a parsed X.509 `SubjectPublicKeyInfo`. Source: RFC 3279 section 2.3, RFC 5480 section
    /// 2.
    pub(crate) fn from_parsed(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        match info.parsed().map_err(|_| KeyError::Malformed)? {
            ParsedKey::RSA(key) => Self::rsa(key.modulus, key.exponent),
            ParsedKey::EC(point) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                if curve != Some(OID_EC_P256) {
                    return Err(KeyError::Unsupported);
                }
                Self::ec_p256(point.data())
            }
            ParsedKey::DSA(_)
            | ParsedKey::GostR3410(_)
            | ParsedKey::GostR3410_2012(_)
            | ParsedKey::Unknown(_) => Err(KeyError::Unsupported),
        }
    }

    /// Checks that `signature` over `message` was made with the private half of this key.
    ///
    /// # Errors
    /// [`SignatureInvalid`] whatever the reason: wrong bytes, an algorithm of another kind of key,
    /// or a key outside the accepted sizes.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureInvalid> {
        match (self, algorithm) {
            (Self::Rsa { n, e }, Algorithm::Rs256) => {
                verify_rsa(n, e, &RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Self::Rsa { n, e }, Algorithm::Ps256) => {
                verify_rsa(n, e, &RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Self::EcP256 { point }, Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .map_err(|_| SignatureInvalid)
            }
            (Self::Rsa { .. }, Algorithm::Es256)
            | (Self::EcP256 { .. }, Algorithm::Rs256 | Algorithm::Ps256) => Err(SignatureInvalid),
        }
    }
}

fn verify_rsa(
    n: &[u8],
    e: &[u8],
    parameters: &RsaParameters,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureInvalid> {
    RsaPublicKeyComponents { n, e }
        .verify(parameters, message, signature)
        .map_err(|_| SignatureInvalid)
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

/// Length in bits of a number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |high| {
        let unused: usize = if *high == 0 { 8 } else { high.leading_zeros() as usize };
        number.len() * 8 - unused
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256, RsaKeyPair};

    use super::*;
    use crate::encoding::base64_decode_any;
    use crate::test_keys;

    /// The RSA test key's public half, a PS256 signature and an RS256 signature of `message`.
    fn rsa_signatures(message: &[u8]) -> (PublicKey, Vec<u8>, Vec<u8>) {
        let der = base64_decode_any(test_keys::RSA_PKCS8, 2048).unwrap();
        let key = RsaKeyPair::from_pkcs8(&der).unwrap();
        let mut pss = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut pss).unwrap();
        let signing_key = test_keys::signing_key();
        assert_eq!(key.public_key().modulus().big_endian_without_leading_zero().len(), 256);
        (signing_key.public_key(), pss, signing_key.sign(message).unwrap())
    }

    #[test]
    fn each_algorithm_verifies_its_own_signatures_only() {
        let (rsa, ps256, rs256) = rsa_signatures(b"message");
        let assertion_key = test_keys::assertion_key();
        let ec = assertion_key.public_key();
        let es256 = assertion_key.sign(b"message").unwrap();
        assert_eq!(es256.len(), 64);
        let algorithms = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256];
        let signatures = [&rs256, &ps256, &es256];
        for (right, signature) in signatures.into_iter().enumerate() {
            for (tried, algorithm) in algorithms.into_iter().enumerate() {
                for key in [&rsa, &ec] {
                    let is_kind = matches!(key, PublicKey::EcP256 { .. }) == (right == 2);
                    let is_valid = tried == right && is_kind;
                    let outcome = key.verify(algorithm, b"message", signature);
                    assert_eq!(outcome.is_ok(), is_valid, "{key:?} {algorithm:?} {right}");
                    assert!(key.verify(algorithm, b"messagE", signature).is_err());
                }
            }
        }
    }

    #[test]
    fn keys_outside_the_accepted_kinds_and_sizes_are_refused() {
        let odd = [1, 0, 1];
        for (modulus_bytes, exponent, is_accepted) in [
            (256, &odd[..], true),
            (1024, &[3][..], true),
            (255, &odd[..], false),
            (128, &odd[..], false),
            (1025, &odd[..], false),
            (256, &[1][..], false),
            (256, &[2][..], false),
            (256, &[][..], false),
            (256, &[1, 0, 0, 0, 1][..], false),
        ] {
            let modulus = [&[0, 0][..], &vec![0xff; modulus_bytes]].concat();
            let key = PublicKey::rsa(&modulus, exponent);
            assert_eq!(key.is_ok(), is_accepted, "{modulus_bytes} {exponent:?}");
            if let Ok(PublicKey::Rsa { n, .. }) = key {
                assert_eq!(n.len(), modulus_bytes, "leading zeros are dropped");
            }
        }
        for point in [&[][..], &[4; 64], &[4; 66], &[2; 65], &[2; 33]] {
            assert_eq!(PublicKey::ec_p256(point), Err(KeyError::Unsupported));
        }
        // A key made without the constructor is still refused where it's used.
        let weak = PublicKey::Rsa { n: vec![0xff; 128], e: odd.to_vec() };
        assert_eq!(weak.verify(Algorithm::Rs256, b"m", &[1; 128]), Err(SignatureInvalid));
        let off_curve = PublicKey::EcP256 { point: vec![4; 65] };
        assert_eq!(off_curve.verify(Algorithm::Es256, b"m", &[1; 64]), Err(SignatureInvalid));
    }

    #[test]
    fn key_comes_out_of_a_certificate() {
        let key = test_keys::signing_key();
        let at = time::OffsetDateTime::UNIX_EPOCH;
        let mut der = key.self_signed_certificate("test", at, at + time::Duration::DAY).unwrap();
        assert_eq!(PublicKey::from_certificate_der(&der), Ok(key.public_key()));
        der.push(0);
        assert_eq!(PublicKey::from_certificate_der(&der), Err(KeyError::Malformed));
        der.truncate(der.len() / 2);
        assert_eq!(PublicKey::from_certificate_der(&der), Err(KeyError::Malformed));
        assert_eq!(PublicKey::from_certificate_der(b""), Err(KeyError::Malformed));
    }

    #[test]
    fn other_curves_are_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let outcome = PublicKey::from_certificate_der(certificate.der());
        assert_eq!(outcome, Err(KeyError::Unsupported));
    }

    #[test]
    fn algorithm_names_are_exact() {
        for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256] {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for name in ["", "none", "None", "rs256", "HS256", "RS384", "ES256K", " RS256"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
