//! glibc's reading (resolv/res_init.c, `res_vinit_1` and `res_setoptions`; the same since 2.26).

use super::{ResolvConf, Surroundings, UNKNOWN_SCOPE, Unclear, bounded, push_words, value_of};
use crate::c_text::{after, is_blank, leading_number, lines, split_word, trim_start};
use crate::literal::{parse_ipv4, parse_ipv6};
use nss_k8s_zone::Address;

/// Keywords count only at the start of a line and before a blank; the last `search` or `domain`
/// wins, unless `LOCALDOMAIN` is set, which beats both.
pub(super) fn read(
    text: &[u8],
    surroundings: &Surroundings<'_>,
    read: &mut ResolvConf,
) -> Result<(), Unclear> {
    if let Some(value) = surroundings.local_domain {
        read_local_domain(value, read)?;
    }
    for line in lines(text) {
        if let Some(value) = value_of(line, b"domain", is_blank) {
            if surroundings.local_domain.is_none() && !value.is_empty() {
                read.search.clear();
                read.search.push(split_word(value, is_blank).0)?;
            }
        } else if let Some(value) = value_of(line, b"search", is_blank) {
            if surroundings.local_domain.is_none() && !value.is_empty() {
                read.search.clear();
                push_words(value, is_blank, read)?;
            }
        } else if let Some(value) = value_of(line, b"nameserver", is_blank) {
            if let Some((address, scope)) = nameserver(value) {
                read.add_nameserver(address, scope);
            }
        } else if let Some(value) = value_of(line, b"options", is_blank) {
            read_options(value, read)?;
        } else if value_of(line, b"sortlist", is_blank).is_some() {
            // The `gethostbyname` family sorts by it, in its own way.
            return Err(Unclear::SortList);
        }
    }
    if read.search.is_empty() {
        let host_name = surroundings.host_name.ok_or(Unclear::HostName)?;
        if let Some(dot) = host_name.iter().position(|byte| *byte == b'.') {
            read.search
                .push(host_name.get(dot.saturating_add(1)..).unwrap_or(&[]))?;
        }
    }
    match surroundings.res_options {
        Some(options) => read_options(options, read),
        None => Ok(()),
    }
}

/// The first entry starts with the first byte: of " a" it is the empty one, which is the root.
fn read_local_domain(value: &[u8], read: &mut ResolvConf) -> Result<(), Unclear> {
    let (value, _) = split_word(value, |byte| byte == b'\n');
    let (first, rest) = split_word(value, is_blank);
    read.search.push(first)?;
    push_words(rest, is_blank, read)
}

/// IPv4 first, as `inet_aton` reads it (what follows white space does not matter), else IPv6. An
/// interface behind "%" that does not exist is ignored by glibc too: the address counts.
fn nameserver(value: &[u8]) -> Option<(Address, u32)> {
    if let Some(octets) = parse_ipv4(value) {
        return Some((Address::v4(octets), 0));
    }
    let (word, _) = split_word(value, is_blank);
    let (address, scope) = split_word(word, |byte| byte == b'%');
    let scope = match scope.get(1..) {
        None | Some([]) => 0,
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            leading_number(digits).unwrap_or(UNKNOWN_SCOPE)
        }
        Some(_) => UNKNOWN_SCOPE,
    };
    parse_ipv6(address).map(|octets| (Address::v6(octets), scope))
}

/// Options are told by their beginnings ("rotated" is `rotate`). A number may stand behind blanks:
/// `atoi` skips them.
fn read_options(text: &[u8], read: &mut ResolvConf) -> Result<(), Unclear> {
    let mut rest = trim_start(text, is_blank);
    while !rest.is_empty() {
        if let Some(number) = after(rest, b"ndots:") {
            read.set_ndots(leading_number(number).ok_or(Unclear::Number)?);
        } else if rest.starts_with(b"no-tld-query") || rest.starts_with(b"no_tld_query") {
            read.no_tld_query = true;
        } else if rest.starts_with(b"no-aaaa") {
            read.no_aaaa = true;
        } else if rest.starts_with(b"no-reload") {
            read.no_reload = true;
        } else if let Some(number) = after(rest, b"timeout:") {
            // Less than a second counts as one.
            read.timeout = bounded(number, 1, 30).max(1);
        } else if let Some(number) = after(rest, b"attempts:") {
            read.attempts = bounded(number, 0, 5);
        } else if rest.starts_with(b"rotate") {
            read.asking.rotates = true;
        } else if rest.starts_with(b"use-vc") {
            read.asking.over_tcp = true;
        } else if rest.starts_with(b"edns0") {
            read.asking.extends = true;
        } else if rest.starts_with(b"trust-ad") {
            read.asking.trusts_data = true;
        } else if rest.starts_with(b"strict-error") {
            read.asking.is_strict = true;
        } else if rest.starts_with(b"-no") {
            // Clears the option since 2.41, means nothing before.
            return Err(Unclear::Option);
        }
        rest = trim_start(split_word(rest, is_blank).1, is_blank);
    }
    Ok(())
}
