//! Text as C programs read it: the `isspace` of the C locale, `atoi`, words.
//!
//! Files are parsed once in a process: these functions are kept out of line and take function
//! pointers, which halves what the parsers add to the libraries.

/// `isspace` in the C locale.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A blank: what glibc's resolv.conf parser splits at.
pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `text` without its leading bytes that satisfy `skip`.
#[inline(never)]
pub(crate) fn trim_start(text: &[u8], skip: fn(u8) -> bool) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| !skip(*byte))
        .unwrap_or(text.len());
    text.get(start..).unwrap_or(&[])
}

/// The bytes before the first that satisfies `end`, and the rest from there on.
#[inline(never)]
pub(crate) fn split_word(text: &[u8], end: fn(u8) -> bool) -> (&[u8], &[u8]) {
    let length = text
        .iter()
        .position(|byte| end(*byte))
        .unwrap_or(text.len());
    text.split_at_checked(length).unwrap_or((text, &[]))
}

/// The lines of a file without their newlines; a last line without newline is one too.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// What comes after `prefix` in `text`, if it starts with it.
#[inline(never)]
pub(crate) fn after<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    text.strip_prefix(prefix)
}

/// A number as `atoi` sees it: leading space and a sign are taken, what follows the digits is not
/// looked at, no digits are 0. `None` for a negative number and for one of more than nine digits,
/// which libcs narrow in their own ways.
#[inline(never)]
pub(crate) fn leading_number(text: &[u8]) -> Option<u32> {
    let text = trim_start(text, is_space);
    let (digits, negative) = match text.split_first() {
        Some((b'+', rest)) => (rest, false),
        Some((b'-', rest)) => (rest, true),
        _ => (text, false),
    };
    let mut value: u32 = 0;
    for (count, byte) in digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .enumerate()
    {
        if count >= 9 {
            return None;
        }
        value = value
            .wrapping_mul(10)
            .wrapping_add(u32::from(byte.wrapping_sub(b'0')));
    }
    if negative && value != 0 {
        None
    } else {
        Some(value)
    }
}

/// Whether two words differ in letter case at most.
#[inline(never)]
pub(crate) fn is_word(text: &[u8], word: &[u8]) -> bool {
    text.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_atoi_reads_them() {
        for (text, expected) in [
            (&b"5"[..], Some(5)),
            (b" 5", Some(5)),
            (b"\t+7x", Some(7)),
            (b"", Some(0)),
            (b"x", Some(0)),
            (b"-0", Some(0)),
            (b"-1", None),
            (b"999999999", Some(999_999_999)),
            (b"1000000000", None),
        ] {
            assert_eq!(leading_number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_end_where_they_should() {
        assert_eq!(split_word(b"ab cd", is_blank), (&b"ab"[..], &b" cd"[..]));
        assert_eq!(split_word(b"ab", is_blank), (&b"ab"[..], &b""[..]));
        assert_eq!(trim_start(b" \t a", is_blank), b"a");
        assert_eq!(trim_start(b"  ", is_blank), b"");
        assert!(lines(b"a\n\nb").eq([&b"a"[..], b"", b"b"]));
    }
}
