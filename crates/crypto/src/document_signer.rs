//! Signed documents: CMS `SignedData` around a content, signed with a certificate that an authority issued for nothing
//! else. Source: RFC 5652 (CMS), RFC 5754 section 3.3 (ECDSA with SHA-256), RFC 5480 (identifiers).

use std::fmt;

use rcgen::{ExtendedKeyUsagePurpose, SanType, SigningKey};
use time::OffsetDateTime;
use yasna::Tag;
use yasna::models::ObjectIdentifier;

use crate::der::{CONTEXT_0, SET};
use crate::digest::sha256;
use crate::x509::{
    CertificateAuthority, CertificateKey, X509Error, ascii, leaf_parameters, parse_certificate,
    random_serial,
};

const SIGNED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 2];
const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 4];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

/// A certificate with its P-256 key, for signing documents.
pub struct DocumentSigner {
    certificate: Vec<u8>,
    key: CertificateKey,
}

impl fmt::Debug for DocumentSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DocumentSigner(…)")
    }
}

impl CertificateAuthority {
    /// A signer of documents with a new key. Its certificate names no server for TLS: `emailProtection` is the usage that
    /// verifiers of signed documents look for.
    ///
    /// # Errors
    /// [`X509Error::NotPermitted`] for a name outside the authority's constraints; [`X509Error::InvalidName`] if there is
    /// none at all or one isn't ASCII.
    pub fn issue_document_signer(
        &self,
        dns_names: &[String],
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<DocumentSigner, X509Error> {
        self.check_permitted(dns_names, &[])?;
        let mut parameters = leaf_parameters(not_before, not_after, random_serial());
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
        for name in dns_names {
            parameters.subject_alt_names.push(SanType::DnsName(ascii(name)?));
        }
        if parameters.subject_alt_names.is_empty() {
            return Err(X509Error::InvalidName);
        }
        let key = CertificateKey::generate()?;
        let certificate = self.sign_leaf(&parameters, &key)?;
        Ok(DocumentSigner { certificate, key })
    }
}

impl DocumentSigner {
    /// The content with its signature and the signer's certificate: a CMS `ContentInfo` in DER.
    ///
    /// # Errors
    /// [`X509Error::Key`] if the library fails.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>, X509Error> {
        let certificate = parse_certificate(&self.certificate)?;
        let (issuer, serial) = (certificate.issuer().as_raw(), certificate.raw_serial());
        let attributes = signed_attributes(content);
        let signature = self.key.sign(&attributes)?;
        Ok(der_sequence(|info| {
            info.next().write_oid(&oid(SIGNED_DATA));
            info.next().write_tagged(Tag::context(0), |explicit| {
                explicit.write_sequence(|signed| {
                    signed.next().write_u8(1);
                    signed.next().write_set_of(|all| algorithm(all.next(), SHA256));
                    signed.next().write_sequence(|inner| {
                        inner.next().write_oid(&oid(DATA));
                        inner
                            .next()
                            .write_tagged(Tag::context(0), |octets| octets.write_bytes(content));
                    });
                    signed.next().write_tagged_implicit(Tag::context(0), |implicit| {
                        implicit.write_set_of(|all| all.next().write_der(&self.certificate));
                    });
                    signed.next().write_set_of(|all| {
                        all.next().write_sequence(|signer| {
                            signer.next().write_u8(1);
                            signer.next().write_sequence(|id| {
                                id.next().write_der(issuer);
                                id.next().write_bigint_bytes(serial, true);
                            });
                            algorithm(signer.next(), SHA256);
                            signer.next().write_der(&retagged(&attributes));
                            algorithm(signer.next(), ECDSA_WITH_SHA256);
                            signer.next().write_bytes(&signature);
                        });
                    });
                });
            });
        }))
    }
}

/// A `SEQUENCE` in DER.
fn der_sequence(members: impl FnOnce(&mut yasna::DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(members))
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

/// An algorithm without parameters.
fn algorithm(writer: yasna::DERWriter<'_>, components: &[u64]) {
    writer.write_sequence(|identifier| identifier.next().write_oid(&oid(components)));
}

/// What is signed: the kind of the content and its digest, as `SET OF Attribute`.
fn signed_attributes(content: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_set_of(|all| {
            all.next().write_sequence(|attribute| {
                attribute.next().write_oid(&oid(CONTENT_TYPE));
                attribute.next().write_set_of(|values| values.next().write_oid(&oid(DATA)));
            });
            all.next().write_sequence(|attribute| {
                attribute.next().write_oid(&oid(MESSAGE_DIGEST));
                attribute.next().write_set_of(|values| values.next().write_bytes(&sha256(content)));
            });
        });
    })
}

/// The attributes as they stand in the document: signed as a set, written under a tag of their own. Source: RFC 5652
/// section 5.4.
fn retagged(attributes: &[u8]) -> Vec<u8> {
    let retag = |(at, byte): (usize, &u8)| match (at, *byte) {
        (0, SET) => CONTEXT_0,
        (_, other) => other,
    };
    attributes.iter().enumerate().map(retag).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use time::Duration;

    use super::*;
    use crate::der::{Element, elements};

    const NOW: i64 = 1_767_225_600;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(NOW).unwrap()
    }

    fn authority() -> CertificateAuthority {
        CertificateAuthority::generate_tls("keycard.localhost", &["metadata.azure.com"], now())
            .unwrap()
    }

    fn signer(authority: &CertificateAuthority) -> DocumentSigner {
        let names = ["*.metadata.azure.com".to_owned()];
        authority.issue_document_signer(&names, now(), now() + Duration::days(90)).unwrap()
    }

    /// The elements in an element.
    fn inside<'a>(element: &Element<'a>) -> Option<Vec<Element<'a>>> {
        elements(element.content)
    }

    /// What a verifier reads out of a document; `None` if it refuses it.
    fn opened(document: &[u8], authority: &CertificateAuthority) -> Option<Vec<u8>> {
        let [info] = elements(document)?.try_into().ok()?;
        let [_, explicit] = inside(&info)?.try_into().ok()?;
        let [signed] = inside(&explicit)?.try_into().ok()?;
        let [_, _, inner, certificates, signers] = inside(&signed)?.try_into().ok()?;
        let [_, octets] = inside(&inner)?.try_into().ok()?;
        let content = inside(&octets)?[0].content;
        let certificate = parse_certificate(certificates.content).ok()?;
        let root = parse_certificate(authority.certificate_der()).unwrap();
        certificate.verify_signature(Some(root.public_key())).ok()?;
        let [signer] = inside(&signers)?.try_into().ok()?;
        let [_, _, _, attributes, _, signature] = inside(&signer)?.try_into().ok()?;
        let mut attributes = attributes.whole.to_vec();
        attributes[0] = SET;
        let key = &certificate.public_key().subject_public_key.data;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
            .verify(&attributes, signature.content)
            .ok()?;
        let digest = sha256(content);
        attributes.windows(32).any(|window| window == digest).then(|| content.to_vec())
    }

    #[test]
    fn a_signed_document_is_verified_by_others() {
        let authority = authority();
        let document = signer(&authority).sign(b"{\"vmId\":\"1\"}").unwrap();
        assert_eq!(opened(&document, &authority).as_deref(), Some(&b"{\"vmId\":\"1\"}"[..]));
        assert_eq!(opened(&document, &self::authority()), None, "of another authority");
        let at = document.windows(6).position(|window| window == b"\"vmId\"").unwrap();
        let mut changed = document;
        changed[at + 8] = b'2';
        assert_eq!(opened(&changed, &authority), None, "of another content");
    }

    #[test]
    fn a_signer_has_a_name_that_its_authority_permits() {
        let issue = |name: &[&str]| {
            let names: Vec<String> = name.iter().map(|name| (*name).to_owned()).collect();
            authority().issue_document_signer(&names, now(), now() + Duration::DAY).err()
        };
        assert_eq!(issue(&["metadata.keycard.localhost", "metadata.azure.com"]), None);
        assert_eq!(issue(&["metadata.example"]), Some(X509Error::NotPermitted));
        assert_eq!(issue(&[]), Some(X509Error::InvalidName));
    }
}
