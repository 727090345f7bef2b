//! Certificates that tokens are bound to: the machine's request for one, the certificate, and reading it again when a
//! client presents it. Source: RFC 2986 (requests), RFC 8705 (tokens bound to certificates).
//!
//! The certificate says all that is to be known of it: whose identity, on which resource, until when. None is kept.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rcgen::{ExtendedKeyUsagePurpose, PublicKeyData, SanType, SerialNumber};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKCS1_RSASSAPSS;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::der::{CONTEXT_0, SET, UTF8_STRING, elements};
use crate::digest::sha256;
use crate::public_key::{Algorithm, CERTIFICATE_BYTES_MAX, KeyError, PublicKey};
use crate::x509::{
    CertificateAuthority, X509Error, ascii, credential_names, credential_subject, leaf_parameters,
    names_exactly, parse_certificate,
};

/// The attribute in which a request names its machine, as JSON: 1.3.6.1.4.1.311.90.2.10, in DER. Source: observed requests
/// of MSAL.
const MACHINE_ATTRIBUTE: &[u8] =
    &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x5a, 0x02, 0x0a];

/// Bits of the keys that are certified.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// What precedes the resource's id in the name by which the certificate names it.
const RESOURCE_URI: &str = "https://management.azure.com";

/// What an id may have and a URI writes as it is.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request whose signature holds and whose subject is the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingRequest {
    key: RsaKey,
    machine: String,
}

/// An RSA key as it stood in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RsaKey(Vec<u8>);

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl BindingRequest {
    /// Reads a PKCS#10 request (DER) for this client and tenant, in either order of the names.
    ///
    /// The signature has to be RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes, and is verified as that
    /// whatever its parameters say: clients spell them in two ways, one of which is no DER.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], [`X509Error::RequestSignatureInvalid`], [`X509Error::RequestSubjectMismatch`], or
    /// [`KeyError::Unsupported`] for any key but RSA of 2048 to 4096 bits.
    pub fn verify(der: &[u8], client_id: &str, tenant_id: &str) -> Result<Self, X509Error> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(X509Error::Malformed);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| X509Error::Malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::Malformed);
        }
        let info = &request.certification_request_info;
        let key = PublicKey::from_parsed(&info.subject_pki)?;
        let PublicKey::Rsa { n, .. } = &key else {
            return Err(X509Error::Key(KeyError::Unsupported));
        };
        if !MODULUS_BYTES.contains(&n.len()) {
            return Err(X509Error::Key(KeyError::Unsupported));
        }
        if request.signature_algorithm.algorithm != OID_PKCS1_RSASSAPSS {
            return Err(X509Error::RequestSignatureInvalid);
        }
        key.verify(Algorithm::Ps256, info.raw, &request.signature_value.data)
            .map_err(|_| X509Error::RequestSignatureInvalid)?;
        if !names_exactly(&info.subject, client_id, tenant_id) {
            return Err(X509Error::RequestSubjectMismatch);
        }
        let key = RsaKey(info.subject_pki.subject_public_key.data.to_vec());
        Ok(Self { key, machine: machine(info.raw).ok_or(X509Error::Malformed)? })
    }

    /// What the request says of its machine: JSON, as the client wrote it.
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.machine
    }
}

/// The text in the one attribute of a request's information (DER) that names the machine.
fn machine(information: &[u8]) -> Option<String> {
    let [information] = elements(information)?.try_into().ok()?;
    let parts = elements(information.content)?;
    let attributes = parts.last().filter(|part| part.tag == CONTEXT_0)?;
    let mut named = Vec::new();
    for attribute in elements(attributes.content)? {
        let [kind, values] = elements(attribute.content)?.try_into().ok()?;
        if kind.whole == MACHINE_ATTRIBUTE && values.tag == SET {
            named.extend(elements(values.content)?);
        }
    }
    match named.as_slice() {
        [text] if text.tag == UTF8_STRING => String::from_utf8(text.content.to_vec()).ok(),
        _ => None,
    }
}

/// A certificate that a client presents, read and found to be an authority's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundCertificate {
    /// The client id of the identity.
    pub client_id: String,
    /// The identity's tenant.
    pub tenant_id: String,
    /// The resource on which it was issued.
    pub resource: String,
    /// SHA-256 thumbprint (`x5t#S256`).
    pub sha256: [u8; 32],
    /// Start of validity, which is the moment of issue.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

impl BoundCertificate {
    /// Reads a certificate that the authority with this certificate issued for binding tokens, and for nothing else.
    /// Whether it is over is the caller's to ask.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] for any other certificate.
    pub fn read(der: &[u8], authority_der: &[u8]) -> Result<Self, X509Error> {
        let certificate = parse_certificate(der)?;
        let authority = parse_certificate(authority_der)?;
        let is_issued = certificate.issuer() == authority.subject()
            && certificate.verify_signature(Some(authority.public_key())).is_ok();
        if !is_issued || certificate.is_ca() {
            return Err(X509Error::Malformed);
        }
        let (client_id, tenant_id) =
            credential_names(certificate.subject()).ok_or(X509Error::Malformed)?;
        Ok(Self {
            client_id,
            tenant_id,
            resource: resource(&certificate).ok_or(X509Error::Malformed)?,
            sha256: sha256(der),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
        })
    }
}

/// The resource that the certificate names; the credentials of hosts name none.
fn resource(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let encoded = uri.strip_prefix(RESOURCE_URI)?;
    percent_decode_str(encoded).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

impl CertificateAuthority {
    /// The certificate for a verified request: subject CN = client id, DC = tenant id, `clientAuth` only, and the
    /// resource's id as its alternative name. Returned in DER.
    ///
    /// # Errors
    /// [`X509Error::InvalidName`], or [`X509Error::Key`] if the library fails.
    pub fn issue_bound_certificate(
        &self,
        request: &BindingRequest,
        (client_id, tenant_id): (&str, &str),
        resource: &str,
        validity: (OffsetDateTime, OffsetDateTime),
        serial: [u8; 16],
    ) -> Result<Vec<u8>, X509Error> {
        let serial = SerialNumber::from_slice(&serial);
        let mut parameters = leaf_parameters(validity.0, validity.1, serial);
        parameters.distinguished_name = credential_subject(client_id, tenant_id)?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = format!("{RESOURCE_URI}{}", utf8_percent_encode(resource, PLAIN));
        parameters.subject_alt_names = vec![SanType::URI(ascii(&uri)?)];
        self.sign_leaf(&parameters, &request.key)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use time::Duration;

    use super::*;
    use crate::test_keys;
    use crate::test_requests::{SPELLINGS, binding_request};

    const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
    const TENANT: &str = "66666666-7777-8888-9999-000000000000";
    const RESOURCE: &str = "/subscriptions/s/resourceGroups/größe (1)/providers/M.C/vms/vm";
    const MACHINE: &str = r#"{"vmId":"1"}"#;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap()
    }

    fn authority() -> CertificateAuthority {
        CertificateAuthority::generate_identity(TENANT, now()).unwrap()
    }

    fn good() -> Vec<u8> {
        binding_request(SPELLINGS[0], (CLIENT, TENANT), &[MACHINE])
    }

    #[test]
    fn requests_are_read_in_every_spelling() {
        for spelling in SPELLINGS {
            let request = binding_request(spelling, (CLIENT, TENANT), &[MACHINE]);
            let read = BindingRequest::verify(&request, CLIENT, TENANT).unwrap();
            assert_eq!(read.machine(), MACHINE);
        }
    }

    #[test]
    fn requests_of_others_and_forged_ones_are_refused() {
        let verify = |der: &[u8]| BindingRequest::verify(der, CLIENT, TENANT).map(|_| ());
        let of = |names| binding_request(SPELLINGS[0], names, &[MACHINE]);
        assert_eq!(verify(&good()), Ok(()));
        for names in [(TENANT, CLIENT), (CLIENT, CLIENT), (TENANT, TENANT), ("", "")] {
            assert_eq!(verify(&of(names)), Err(X509Error::RequestSubjectMismatch), "{names:?}");
        }
        let mut forged = good();
        let at = forged.windows(6).position(|window| window == b"\"vmId\"").unwrap();
        forged[at + 8] = b'2';
        assert_eq!(verify(&forged), Err(X509Error::RequestSignatureInvalid));
        for machines in [&[][..], &[MACHINE, MACHINE]] {
            let request = binding_request(SPELLINGS[0], (CLIENT, TENANT), machines);
            assert_eq!(verify(&request), Err(X509Error::Malformed));
        }
        let trailing = [&good()[..], &[0]].concat();
        for broken in [&b""[..], &good()[1..], &trailing, &[0x30; 20_000]] {
            assert_eq!(verify(broken), Err(X509Error::Malformed));
        }
    }

    #[test]
    fn other_keys_and_signatures_are_refused() {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = credential_subject(CLIENT, TENANT).unwrap();
        let pkcs1 = parameters.serialize_request(&test_keys::signing_key()).unwrap();
        let verify = |der: &[u8]| BindingRequest::verify(der, CLIENT, TENANT).map(|_| ());
        assert_eq!(verify(pkcs1.der()), Err(X509Error::RequestSignatureInvalid));
        let ec = test_keys::assertion_key().certificate_request(CLIENT, TENANT).unwrap();
        assert_eq!(verify(&ec), Err(X509Error::Key(KeyError::Unsupported)));
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_from_where() {
        let authority = authority();
        let request = BindingRequest::verify(&good(), CLIENT, TENANT).unwrap();
        let validity = (now(), now() + Duration::days(7));
        let issue = |authority: &CertificateAuthority| {
            authority
                .issue_bound_certificate(&request, (CLIENT, TENANT), RESOURCE, validity, [1; 16])
                .unwrap()
        };
        let der = issue(&authority);
        let key = PublicKey::from_certificate_der(&der).unwrap();
        assert_eq!(key, test_keys::signing_key().public_key(), "the key of the request");
        let read = BoundCertificate::read(&der, authority.certificate_der()).unwrap();
        assert_eq!((read.client_id.as_str(), read.tenant_id.as_str()), (CLIENT, TENANT));
        assert_eq!((read.resource.as_str(), read.sha256), (RESOURCE, sha256(&der)));
        assert_eq!((read.not_before, read.not_after), validity);
        // Another authority's, the authority itself, and what hosts sign assertions with.
        let other = issue(&self::authority());
        let credential = test_keys::assertion_key().certificate_request(CLIENT, TENANT).unwrap();
        let (from, until) = validity;
        let credential =
            authority.issue_identity_credential(&credential, CLIENT, TENANT, from, until, [2; 16]);
        for stranger in [&other, authority.certificate_der(), &credential.unwrap().der, &der[1..]] {
            let outcome = BoundCertificate::read(stranger, authority.certificate_der());
            assert_eq!(outcome, Err(X509Error::Malformed));
        }
    }
}
