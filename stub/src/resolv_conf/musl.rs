//! musl's reading (src/network/resolvconf.c; the same since 1.1.13).

use super::{ResolvConf, Unclear, bounded, push_words, value_of};
use crate::c_text::{after, is_space, leading_number, split_word};
use crate::literal::{parse_ipv4, parse_ipv6};
use nss_k8s_zone::Address;

/// musl reads lines into 256 bytes, NUL included, and skips one of which it has not seen the newline
/// or the end of the file by then.
const MAX_LINE: usize = 255;

/// No comments, no environment, no default domain; a keyword stands before any white space, the
/// newline included; the last `search` or `domain` wins, even an empty one.
pub(super) fn read(text: &[u8], read: &mut ResolvConf) -> Result<(), Unclear> {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let is_whole = line.ends_with(b"\n") || line.len() < MAX_LINE;
        if line.len() > MAX_LINE || !is_whole {
            continue;
        }
        if let Some(rest) = value_of(line, b"options", is_space) {
            read_options(rest, read)?;
        } else if let Some(rest) = value_of(line, b"nameserver", is_space) {
            if read.nameservers().len() < super::MAX_NAMESERVERS
                && let Some((address, scope)) = nameserver(split_word(rest, is_space).0)?
            {
                read.add_nameserver(address, scope);
            }
        } else if let Some(rest) =
            value_of(line, b"domain", is_space).or_else(|| value_of(line, b"search", is_space))
        {
            read.search.clear();
            push_words(rest, is_space, read)?;
        }
    }
    Ok(())
}

/// The first of each keyword anywhere in the line, if a digit follows at once.
fn read_options(text: &[u8], read: &mut ResolvConf) -> Result<(), Unclear> {
    if let Some(number) = digits_behind(text, b"ndots:") {
        read.set_ndots(leading_number(number).ok_or(Unclear::Number)?);
    }
    if let Some(number) = digits_behind(text, b"attempts:") {
        read.attempts = bounded(number, 0, 10);
    }
    if let Some(number) = digits_behind(text, b"timeout:") {
        read.timeout = bounded(number, 0, 60);
    }
    Ok(())
}

/// What stands behind the first `keyword`.
#[inline(never)]
fn digits_behind<'t>(text: &'t [u8], keyword: &[u8]) -> Option<&'t [u8]> {
    let mut rest = text;
    loop {
        if let Some(number) = after(rest, keyword) {
            return number.first()?.is_ascii_digit().then_some(number);
        }
        (_, rest) = rest.split_first()?;
    }
}

/// A numeric scope counts when it fits 32 bits; with the name of an interface the nameserver
/// counts only if that interface exists, and asking for it is not our business.
fn nameserver(word: &[u8]) -> Result<Option<(Address, u32)>, Unclear> {
    if let Some(octets) = parse_ipv4(word) {
        return Ok(Some((Address::v4(octets), 0)));
    }
    let (address, scope) = split_word(word, |byte| byte == b'%');
    let Some(octets) = parse_ipv6(address) else {
        return Ok(None);
    };
    match scope.split_first() {
        None => Ok(Some((Address::v6(octets), 0))),
        Some((_, digits))
            if !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit) =>
        {
            let scope = leading_number(digits).ok_or(Unclear::Scope)?;
            Ok(Some((Address::v6(octets), scope)))
        }
        Some(_) => Err(Unclear::Scope),
    }
}
