//! Requests for certificates as the clients of workloads make them, for the tests of this and other crates.
//!
//! Source: observed requests of MSAL for Python and .NET, which spell the same thing in two ways.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256, RsaKeyPair};
use yasna::Tag;
use yasna::models::ObjectIdentifier;

use crate::encoding::base64_decode_any;
use crate::test_keys;

/// A `SEQUENCE` in DER.
fn der_sequence(members: impl FnOnce(&mut yasna::DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(members))
}

fn oid(text: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(text)
}

/// How a client spells the parameters of the signature, and in which order the names.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    has_null_and_trailer: bool,
    has_name_first: bool,
}

/// All of them.
pub const SPELLINGS: [Spelling; 4] = [
    Spelling { has_null_and_trailer: true, has_name_first: true },
    Spelling { has_null_and_trailer: true, has_name_first: false },
    Spelling { has_null_and_trailer: false, has_name_first: true },
    Spelling { has_null_and_trailer: false, has_name_first: false },
];

fn pss_parameters(writer: yasna::DERWriter<'_>, is_full: bool) {
    let hash = |writer: yasna::DERWriter<'_>| {
        writer.write_sequence(|it| {
            it.next().write_oid(&oid(&[2, 16, 840, 1, 101, 3, 4, 2, 1]));
            if is_full {
                it.next().write_null();
            }
        });
    };
    writer.write_sequence(|it| {
        it.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 10]));
        it.next().write_sequence(|parameters| {
            parameters.next().write_tagged(Tag::context(0), hash);
            parameters.next().write_tagged(Tag::context(1), |mask| {
                mask.write_sequence(|it| {
                    it.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 8]));
                    hash(it.next());
                });
            });
            parameters.next().write_tagged(Tag::context(2), |salt| salt.write_u8(32));
            if is_full {
                parameters.next().write_tagged(Tag::context(3), |trailer| trailer.write_u8(1));
            }
        });
    });
}

fn subject(writer: yasna::DERWriter<'_>, (client, tenant): (&str, &str), is_name_first: bool) {
    writer.write_sequence(|names| {
        let mut one = |is_name: bool| {
            names.next().write_set(|set| {
                set.next().write_sequence(|it| {
                    if is_name {
                        it.next().write_oid(&oid(&[2, 5, 4, 3]));
                        it.next().write_utf8_string(client);
                    } else {
                        it.next().write_oid(&oid(&[0, 9, 2342, 19_200_300, 100, 1, 25]));
                        it.next().write_ia5_string(tenant);
                    }
                });
            });
        };
        one(is_name_first);
        one(!is_name_first);
    });
}

/// A request of a workload for a certificate, signed with the RSA test key, that names a client and a tenant, and these
/// machines.
#[must_use]
pub fn binding_request(spelling: Spelling, names: (&str, &str), machines: &[&str]) -> Vec<u8> {
    let der = base64_decode_any(test_keys::RSA_PKCS8, 2048).unwrap_or_default();
    let Ok(key) = RsaKeyPair::from_pkcs8(&der) else { return Vec::new() };
    let info = der_sequence(|info| {
        info.next().write_u8(0);
        subject(info.next(), names, spelling.has_name_first);
        info.next().write_sequence(|public| {
            public.next().write_sequence(|algorithm| {
                algorithm.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 1, 1]));
                algorithm.next().write_null();
            });
            let bytes = key.public_key().as_ref();
            public.next().write_bitvec_bytes(bytes, bytes.len() * 8);
        });
        info.next().write_tagged_implicit(Tag::context(0), |attributes| {
            attributes.write_set_of(|all| {
                for machine in machines {
                    all.next().write_sequence(|attribute| {
                        attribute.next().write_oid(&oid(&[1, 3, 6, 1, 4, 1, 311, 90, 2, 10]));
                        attribute.next().write_set_of(|it| it.next().write_utf8_string(machine));
                    });
                }
            });
        });
    });
    let mut signature = vec![0; key.public_modulus_len()];
    let _ = key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), &info, &mut signature);
    der_sequence(|request| {
        request.next().write_der(&info);
        pss_parameters(request.next(), spelling.has_null_and_trailer);
        request.next().write_bitvec_bytes(&signature, signature.len() * 8);
    })
}
