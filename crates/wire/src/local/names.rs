//! The names inside a sandbox: a DNS responder that knows Azure's names, keycard's own and those that were allowed, and
//! that there are no others. It asks nobody.
//!
//! Source: RFC 1035 section 4 (messages), RFC 2308 section 2 (no data), RFC 6761 section 6.3 (`localhost`), RFC 6891
//! section 7 (a responder without EDNS leaves the option out), RFC 7766 section 8 (TCP).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::host_names::is_claimed;

/// Longest question that is read, in bytes; a longer one has no business here. A question takes at most 12 + 255 + 4, and
/// resolvers add a few options.
pub const QUESTION_BYTES_MAX: usize = 1232;

/// How long a name may be remembered, seconds: it means another thing outside.
const TIME_TO_LIVE_SECONDS: u32 = 5;

const HEAD_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_INTERNET: u16 = 1;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

/// What the names mean.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Where every name of Azure leads.
    pub azure: Ipv4Addr,
    /// keycard's own domain, in lower case; it and all below lead to loopback.
    pub own_domain: String,
    /// Further names, in lower case.
    pub others: BTreeMap<String, Ipv4Addr>,
}

impl Zone {
    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.others.get(name) {
            return Some(*address);
        }
        let is_below = |domain: &str| {
            name.strip_suffix(domain).is_some_and(|left| left.is_empty() || left.ends_with('.'))
        };
        if is_below("localhost") || is_below(&self.own_domain) {
            return Some(Ipv4Addr::LOCALHOST);
        }
        is_claimed(name).then_some(self.azure)
    }

    /// The answer to a message, without the length that TCP puts before it; `None` where silence is the answer: to what is
    /// no question at all.
    pub fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = message.split_at_checked(HEAD_BYTES)?;
        let [id_high, id_low, flags, ..] = *head else { return None };
        let is_response = flags & 0x80 != 0;
        if is_response || message.len() > QUESTION_BYTES_MAX {
            return None;
        }
        let head = |code: u8, questions: u8, answers: u8| {
            // Authoritative, recursion as it was asked for and available: a resolver must not look elsewhere.
            let first = 0x84 | (flags & 0x79);
            vec![id_high, id_low, first, 0x80 | code, 0, questions, 0, answers, 0, 0, 0, 0]
        };
        let operation = (flags >> 3) & 0x0f;
        if operation != 0 {
            return Some(head(NOT_IMPLEMENTED, 0, 0));
        }
        let Some(question) = Question::read(message, rest) else {
            return Some(head(FORMAT_ERROR, 0, 0));
        };
        let address = self.address(&question.name);
        let code = if address.is_some() { 0 } else { NAME_ERROR };
        // Other types than A get no data, and not "no such name": some clients ask for both and believe either.
        let address = address.filter(|_| question.asks_for_an_address());
        let mut answer = head(code, 1, u8::from(address.is_some()));
        answer.extend_from_slice(question.bytes);
        if let Some(address) = address {
            // The name is that of the question, which begins at byte 12.
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&TYPE_A.to_be_bytes());
            answer.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
            answer.extend_from_slice(&TIME_TO_LIVE_SECONDS.to_be_bytes());
            answer.extend_from_slice(&[0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}

/// The one question of a message.
struct Question<'a> {
    /// In lower case, labels joined by dots, without a final one.
    name: String,
    kind: u16,
    class: u16,
    /// As it came, to be sent back.
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    /// `None` unless there is exactly one, whole, in plain ASCII.
    fn read(message: &[u8], rest: &'a [u8]) -> Option<Self> {
        if message.get(4..6)? != [0, 1] {
            return None;
        }
        let mut name = String::new();
        let mut at = 0;
        loop {
            let length = usize::from(*rest.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // Longer lengths are pointers, which a question that stands first cannot need.
            if length > LABEL_BYTES_MAX || at + length >= NAME_BYTES_MAX {
                return None;
            }
            let label = std::str::from_utf8(rest.get(at..at + length)?).ok()?;
            if !label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.') {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&label.to_ascii_lowercase());
            at += length;
        }
        let (bytes, _) = rest.split_at_checked(at + 4)?;
        let &[.., kind_high, kind_low, class_high, class_low] = bytes else { return None };
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let class = u16::from_be_bytes([class_high, class_low]);
        Some(Self { name, kind, class, bytes })
    }

    const fn asks_for_an_address(&self) -> bool {
        self.class == CLASS_INTERNET && matches!(self.kind, TYPE_A | TYPE_ANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AZURE: Ipv4Addr = Ipv4Addr::new(10, 254, 254, 1);
    const TYPE_AAAA: u16 = 28;

    fn zone() -> Zone {
        let others = BTreeMap::from([("db.internal".to_owned(), Ipv4Addr::new(10, 254, 254, 2))]);
        Zone { azure: AZURE, own_domain: "keycard.test".to_owned(), others }
    }

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        message
    }

    /// The answer's code and address.
    fn ask(name: &str, kind: u16) -> (u8, Option<Ipv4Addr>) {
        let question = question(name, kind);
        let answer = zone().answer(&question).unwrap();
        assert_eq!(answer[..2], question[..2], "{name}: the id");
        assert_eq!(answer[2] & 0x84, 0x84, "{name}: an authoritative response");
        assert_eq!(answer[12..question.len()], question[12..], "{name}: the question");
        let record = &answer[question.len()..];
        assert_eq!(usize::from(answer[7]), record.len() / 16, "{name}: the count");
        let octets: Option<[u8; 4]> = record.get(12..).map(|octets| octets.try_into().unwrap());
        (answer[3] & 0x0f, octets.map(Ipv4Addr::from))
    }

    #[test]
    fn names_lead_to_keycard_or_nowhere() {
        for (name, address) in [
            ("kv.vault.azure.net", AZURE),
            ("KV.Vault.AZURE.net", AZURE),
            ("a.b.c.blob.core.windows.net", AZURE),
            ("westeurope.login.microsoftonline.com", AZURE),
            ("azure.com", AZURE),
            ("localhost", Ipv4Addr::LOCALHOST),
            ("a.localhost", Ipv4Addr::LOCALHOST),
            ("login.keycard.test", Ipv4Addr::LOCALHOST),
            ("db.internal", Ipv4Addr::new(10, 254, 254, 2)),
        ] {
            assert_eq!(ask(name, TYPE_A), (0, Some(address)), "{name}");
            assert_eq!(ask(name, TYPE_AAAA), (0, None), "{name}: no data, but the name is there");
        }
        for name in ["", "example.com", "evilazure.net", "azure.net.evil", "a.db.internal", "net"] {
            assert_eq!(ask(name, TYPE_A), (NAME_ERROR, None), "{name}");
        }
    }

    #[test]
    fn what_is_no_plain_question_gets_an_error_or_silence() {
        let code = |message: &[u8]| zone().answer(message).map(|answer| answer[3] & 0x0f);
        let good = question("kv.vault.azure.net", TYPE_A);
        let changed = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            message
        };
        assert_eq!(code(&good), Some(0));
        assert_eq!(code(&changed(2, 0x81)), None, "a response");
        assert_eq!(code(&good[..11]), None, "no head");
        assert_eq!(code(&changed(2, 0x28)), Some(NOT_IMPLEMENTED), "an update");
        assert_eq!(code(&changed(5, 0)), Some(FORMAT_ERROR), "no question");
        assert_eq!(code(&changed(5, 2)), Some(FORMAT_ERROR), "two questions");
        assert_eq!(code(&changed(12, 0xc0)), Some(FORMAT_ERROR), "a pointer");
        assert_eq!(code(&changed(13, b'.')), Some(FORMAT_ERROR), "a dot in a label");
        assert_eq!(code(&changed(13, 0xff)), Some(FORMAT_ERROR), "not ASCII");
        assert_eq!(code(&good[..good.len() - 1]), Some(FORMAT_ERROR), "cut off");
        let long = ["a".repeat(60).as_str(); 5].join(".");
        assert_eq!(code(&question(&long, TYPE_A)), Some(FORMAT_ERROR), "a name too long");
        let padded = [good.as_slice(), &[0; QUESTION_BYTES_MAX]].concat();
        assert_eq!(code(&padded), None, "a message too long");
        let with_edns = [good.as_slice(), &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(code(&with_edns), Some(0), "options are passed over");
    }

    proptest! {
        #[test]
        fn no_message_breaks_it_and_no_answer_is_longer_than_the_question_and_one_record(
            message in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            if let Some(answer) = zone().answer(&message) {
                prop_assert!(answer.len() <= message.len() + 16);
                prop_assert_eq!(&answer[..2], &message[..2]);
            }
        }

        #[test]
        fn a_broken_question_breaks_nothing(at in 0_usize..40, byte in any::<u8>(), cut in 0_usize..40) {
            let mut message = question("kv.vault.azure.net", TYPE_A);
            let length = message.len();
            message[at % length] = byte;
            message.truncate(length - cut % length);
            if let Some(answer) = zone().answer(&message) {
                prop_assert!(answer.len() <= message.len().max(HEAD_BYTES) + 16);
            }
        }
    }
}
