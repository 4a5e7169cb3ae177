//! glibc's reading (resolv/res_init.c, `res_vinit_1` and `res_setoptions`; the same since 2.26).

use super::{ResolvConf, Surroundings, Unclear, push_words, value_of};
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
            if let Some(address) = nameserver(value) {
                read.add_nameserver(address);
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
fn nameserver(value: &[u8]) -> Option<Address> {
    if let Some(octets) = parse_ipv4(value) {
        return Some(Address::v4(octets));
    }
    let (word, _) = split_word(value, is_blank);
    let (address, _) = split_word(word, |byte| byte == b'%');
    parse_ipv6(address).map(Address::v6)
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
        } else if rest.starts_with(b"-no") {
            // Clears the option since 2.41, means nothing before.
            return Err(Unclear::Option);
        }
        rest = trim_start(split_word(rest, is_blank).1, is_blank);
    }
    Ok(())
}
