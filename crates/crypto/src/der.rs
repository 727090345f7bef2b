//! Walking through DER: what a reader of X.509 does not show. Source: X.690, sections 8.1 and 10.1.

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Its tag, which is below 31.
    pub(crate) tag: u8,
    /// What is in it.
    pub(crate) content: &'a [u8],
    /// All of it.
    pub(crate) whole: &'a [u8],
}

/// `SET` and `SET OF`.
pub(crate) const SET: u8 = 0x31;
/// `UTF8String`.
pub(crate) const UTF8_STRING: u8 = 0x0c;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// Bytes of a length that are read: elements below 16 MiB.
const LENGTH_BYTES_MAX: usize = 3;

/// The elements that bytes consist of; `None` if they are anything else.
pub(crate) fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = first(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*short) {
        short @ ..0x80 => (short, rest),
        long => {
            let count = long - 0x80;
            let (digits, rest) = rest.split_at_checked(count)?;
            let is_read = (1..=LENGTH_BYTES_MAX).contains(&count);
            let length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
            (is_read.then_some(length)?, rest)
        }
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - after.len())?;
    (tag & 0x1f != 0x1f).then_some((Element { tag: *tag, content, whole }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_elements_or_nothing() {
        let found = elements(&[0x0c, 1, b'a', 0x31, 0x81, 2, 5, 0]).unwrap();
        let shown: Vec<_> = found.iter().map(|it| (it.tag, it.content, it.whole.len())).collect();
        assert_eq!(shown, [(UTF8_STRING, &b"a"[..], 3), (SET, &[5, 0], 5)]);
        assert_eq!(elements(&[]), Some(vec![]));
        for broken in
            [&[0x0c][..], &[0x0c, 2, 0], &[0x0c, 0x80], &[0x0c, 0x84, 0, 0, 0, 0], &[0x1f, 1, 0]]
        {
            assert_eq!(elements(broken), None, "{broken:?}");
        }
    }
}
