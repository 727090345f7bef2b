//! Private keys that sign: the tenant's token-signing key (RSA) and the key of an identity
//! credential (P-256). Each is parsed once, so a signature costs the bare operation.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyUsagePurpose};
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use crate::public_key::{
    Algorithm, CERTIFICATE_BYTES_MAX, KeyError, PublicKey, SignatureInvalid, UnknownAlgorithm,
};
use crate::x509::{CertificateKey, credential_subject, random_serial};

/// RSA-2048 private key that signs access tokens with RS256.
///
/// A signature takes about 0.7 ms: async callers go through
/// [`SigningPool`](crate::signing_pool::SigningPool).
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    /// A new key; takes 60 ms and more.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn generate() -> Result<Self, KeyError> {
        RsaKeyPair::generate(KeySize::Rsa2048).map(Self).map_err(|_| KeyError::NotMade)
    }

    /// A new key, made on a thread of its own, so that an async caller does not block the runtime.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails or there is no thread to be had.
    pub async fn generate_beside() -> Result<Self, KeyError> {
        let (answer, made) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("make-key".to_owned())
            .spawn(move || answer.send(Self::generate()).is_ok())
            .map_err(|_| KeyError::NotMade)?;
        made.await.map_err(|_| KeyError::NotMade)?
    }

    /// Reads PKCS#8 (RFC 5208) DER.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if it's no RSA key; [`KeyError::Unsupported`] if not 2048 bits long.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?;
        if key.public_modulus_len() != KeySize::Rsa2048.len() {
            return Err(KeyError::Unsupported);
        }
        Ok(Self(key))
    }

    /// The private key as PKCS#8 DER, to be sealed at once.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().map_err(|_| KeyError::NotMade)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Signs with RS256: 256 bytes. Source: RFC 7518 section 3.3.
    ///
    /// # Errors
    /// [`KeyError::NotSigned`] if the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::NotSigned)?;
        Ok(signature)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let key = self.0.public_key();
        PublicKey::Rsa {
            n: key.modulus().big_endian_without_leading_zero().to_vec(),
            e: key.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }

    /// A self-signed X.509 certificate (DER) for this key, for `x5c` and `x5t` in the key set.
    /// Make it once per key: its serial number is random, so each call gives another thumbprint.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn self_signed_certificate(
        &self,
        common_name: &str,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Vec<u8>, KeyError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.not_before = not_before;
        parameters.not_after = not_after;
        parameters.serial_number = Some(random_serial());
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = parameters.self_signed(self).map_err(|_| KeyError::NotMade)?;
        Ok(certificate.der().to_vec())
    }
}

impl rcgen::PublicKeyData for SigningKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Self::sign(self, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey(…)")
    }
}

/// P-256 private key of an identity credential. It's made on the host that uses it and signs client
/// assertions with ES256; only its certificate request travels.
pub struct AssertionKey(EcdsaKeyPair);

impl AssertionKey {
    /// A new key; takes under 0.1 ms.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn generate() -> Result<Self, KeyError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Self)
            .map_err(|_| KeyError::NotMade)
    }

    /// Reads PKCS#8 DER.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if it's no P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(Self)
            .map_err(|_| KeyError::Malformed)
    }

    /// The private key as PKCS#8 DER.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = self.0.to_pkcs8v1().map_err(|_| KeyError::NotMade)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Signs with ES256: `r || s`, 64 bytes. Source: RFC 7518 section 3.4.
    ///
    /// # Errors
    /// [`KeyError::NotSigned`] if the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature =
            self.0.sign(&SystemRandom::new(), message).map_err(|_| KeyError::NotSigned)?;
        Ok(signature.as_ref().to_vec())
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::EcP256 { point: self.0.public_key().as_ref().to_vec() }
    }

    /// A PKCS#10 (RFC 2986) certificate request in DER: subject CN = client id, DC = tenant id, as
    /// [`issue_identity_credential`] wants it.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if an id is not ASCII or the library fails.
    ///
    /// [`issue_identity_credential`]: crate::x509::CertificateAuthority::issue_identity_credential
    pub fn certificate_request(
        &self,
        client_id: &str,
        tenant_id: &str,
    ) -> Result<Vec<u8>, KeyError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name =
            credential_subject(client_id, tenant_id).map_err(|_| KeyError::NotMade)?;
        // X.509 wants the signature in ASN.1 form, which a key made for `r || s` can't give.
        let key = CertificateKey::from_pkcs8(&self.to_pkcs8()?)?;
        let request = parameters.serialize_request(&key).map_err(|_| KeyError::NotMade)?;
        Ok(request.der().to_vec())
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AssertionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_keys;

    #[test]
    fn keys_survive_storage() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        let key = AssertionKey::generate().unwrap();
        let again = AssertionKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "AssertionKey(…)");
    }

    #[test]
    fn keys_of_another_kind_or_size_are_refused() {
        let rsa = test_keys::signing_key().to_pkcs8().unwrap();
        let ec = test_keys::assertion_key().to_pkcs8().unwrap();
        assert_eq!(SigningKey::from_pkcs8(&ec).err(), Some(KeyError::Malformed));
        assert_eq!(AssertionKey::from_pkcs8(&rsa).err(), Some(KeyError::Malformed));
        assert_eq!(SigningKey::from_pkcs8(b"").err(), Some(KeyError::Malformed));
        let longer = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
        let longer: Pkcs8V1Der<'_> = longer.as_der().unwrap();
        let outcome = SigningKey::from_pkcs8(longer.as_ref());
        assert_eq!(outcome.err(), Some(KeyError::Unsupported));
    }

    #[test]
    fn public_numbers_are_minimal() {
        let PublicKey::Rsa { n, e } = test_keys::signing_key().public_key() else { panic!() };
        assert_eq!((n.len(), e.as_slice()), (256, &[1, 0, 1][..]));
        assert_eq!(PublicKey::rsa(&n, &e), Ok(PublicKey::Rsa { n, e }));
    }
}
