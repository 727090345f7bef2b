//! `guid` and `uniqueString`, whose values people have in their names: exact, or their deployments make everything twice.
//!
//! Source: Azure Resource Manager, "String functions"; values observed on Azure.

use serde_json::Value;
use uuid::Uuid;

use super::super::error::ExpressionError;
use super::{Arguments, Function, MANY, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("guid", (1, MANY), |it| {
        let name = joined(it)?;
        Ok(Uuid::new_v5(&GUID_NAMESPACE, name.as_bytes()).to_string().into())
    }),
    pure("uniqueString", (1, MANY), |it| unique_string(&joined(it)?)),
];

const GUID_NAMESPACE: Uuid = Uuid::from_u128(0x11fb_06fb_712d_4ddd_98c7_e71b_bd58_8830);

fn joined(it: &Arguments<'_>) -> Result<String, ExpressionError> {
    Ok(it.texts()?.join("-"))
}

fn unique_string(text: &str) -> Result<Value, ExpressionError> {
    let mut bits = murmur(text.as_bytes());
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut out = String::new();
    for _ in 0..13 {
        let index = usize::try_from(bits >> 59).unwrap_or_default();
        out.extend(alphabet.get(index).copied().map(char::from));
        bits <<= 5;
    }
    Ok(out.into())
}

/// What tells one template from another, as Resource Manager shows it: the digits of a 64-bit number.
pub(in super::super) fn template_hash(text: &str) -> String {
    murmur(text.as_bytes()).to_string()
}

const C1: u32 = 0x239b_961b;
const C2: u32 = 0xab0e_9789;

/// The 64-bit variant of the Murmur hash with seed 0.
fn murmur(bytes: &[u8]) -> u64 {
    let (mut h1, mut h2) = (0_u32, 0_u32);
    let mut blocks = bytes.chunks_exact(8);
    for block in blocks.by_ref() {
        let (low, high) = block.split_at_checked(4).unwrap_or_default();
        h1 = (h1 ^ first_mixed(word(low))).rotate_left(19).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x561c_cd1b);
        h2 = (h2 ^ second_mixed(word(high))).rotate_left(13).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x0bca_a747);
    }
    let tail = blocks.remainder();
    let (low, high) = tail.split_at_checked(4).unwrap_or((tail, &[]));
    h1 ^= first_mixed(word(low));
    h2 ^= second_mixed(word(high));
    // Only the last 32 bits of the length are mixed in, as the published algorithm has it.
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or_default();
    (h1, h2) = (h1 ^ length, h2 ^ length);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (finished(h1), finished(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (u64::from(h2) << 32) | u64::from(h1)
}

/// Up to four bytes, the first one lowest.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

fn first_mixed(k: u32) -> u32 {
    k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

fn second_mixed(k: u32) -> u32 {
    k.wrapping_mul(C2).rotate_left(17).wrapping_mul(C1)
}

fn finished(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}
