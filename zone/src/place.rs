//! Where in the zone's tree a name is, told from its labels alone.

use crate::{
    layout::{APEX_WORDS, AT_APEX, AT_APEX_LENGTH, WORD},
    words::Words,
};

/// Where a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'n> {
    /// Not at or below the apex.
    Outside,
    /// It exists whatever the cluster holds, without addresses.
    NoData,
    /// It exists in no cluster.
    NxDomain,
    /// Only a DNS server can tell: its own name.
    NotHeld,
    /// `<namespace>.svc`.
    Namespace(&'n [u8]),
    /// `<below>.<service>.<namespace>.svc`.
    Service {
        /// `<service>.<namespace>`.
        key: &'n [u8],
        /// The last label of `key`.
        namespace: &'n [u8],
        /// What is left of the service.
        below: Below<'n>,
    },
    /// `<address>.<namespace>.pod`, or `<namespace>.pod`.
    Pod {
        /// The dashed address.
        address: Option<&'n [u8]>,
        /// The namespace.
        namespace: &'n [u8],
    },
}

/// The labels left of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below<'n> {
    /// None.
    Itself,
    /// One with a leading underscore: `_tcp`.
    Protocol(&'n [u8]),
    /// One: an endpoint's.
    Endpoint(&'n [u8]),
    /// Two: `_http._tcp`, given here without underscores.
    Port {
        /// `http`.
        name: &'n [u8],
        /// `tcp`.
        protocol: &'n [u8],
    },
}

/// Places `name`; `None` when the zone's apex is past the end or longer than a name.
pub(crate) fn place<'n>(words: Words<'_>, name: &'n [u8]) -> Option<Place<'n>> {
    let apex_length = usize::try_from(words.load(AT_APEX_LENGTH)?).ok()?;
    if apex_length == 0 || apex_length > APEX_WORDS.wrapping_mul(WORD) {
        return None;
    }
    Some(match ends_with_labels(words, name, AT_APEX, apex_length)? {
        None => Place::Outside,
        Some([]) => Place::NoData,
        Some(relative) if is_own_server(words, relative, apex_length)? => Place::NotHeld,
        Some(relative) => below_apex(relative),
    })
}

/// Whether a name relative to the apex begins with the whole name of CoreDNS's own server, which is
/// what CoreDNS compares: it answers `ns.dns.cluster.local.svc.cluster.local`, too.
fn is_own_server(words: Words<'_>, relative: &[u8], apex_length: usize) -> Option<bool> {
    let after = relative.strip_prefix(b"ns.dns.");
    match after.and_then(|after| after.split_at_checked(apex_length)) {
        Some((apex, [] | [b'.', ..])) => words.holds(AT_APEX, apex),
        _ => Some(false),
    }
}

/// What is left of the suffix of `length` bytes stored at `at`, without the dot between, when `name`
/// ends with it at a label's boundary. `None` past the end.
pub(crate) fn ends_with_labels<'n>(
    words: Words<'_>,
    name: &'n [u8],
    at: usize,
    length: usize,
) -> Option<Option<&'n [u8]>> {
    let Some(start) = name.len().checked_sub(length) else {
        return Some(None);
    };
    let Some((rest, suffix)) = name.split_at_checked(start) else {
        return Some(None);
    };
    let rest = match rest {
        [] => rest,
        [labels @ .., b'.'] => labels,
        _ => return Some(None),
    };
    Some(words.holds(at, suffix)?.then_some(rest))
}

/// Splits off the last label: what is left of it, and itself.
pub(crate) fn split_last(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(dot) = last_dot(text) else {
        return (None, text);
    };
    match text.split_at_checked(dot) {
        Some((rest, [_, label @ ..])) => (Some(rest), label),
        _ => (None, text),
    }
}

/// Where the last dot is, eight bytes at a time: names are mostly search suffixes, and byte by byte
/// this was a fifth of a lookup.
#[inline]
fn last_dot(text: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const DOTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
    let (rest, chunks) = text.as_rchunks::<8>();
    let mut start = text.len();
    for chunk in chunks.iter().rev() {
        start = start.wrapping_sub(8);
        let word = u64::from_le_bytes(*chunk) ^ DOTS;
        // The high bit of each byte that is zero, and of no other.
        let dots = !((word & LOW).wrapping_add(LOW) | word | LOW);
        if dots != 0 {
            let last = 7_u32.wrapping_sub(dots.leading_zeros() / 8);
            return Some(start.wrapping_add(last as usize));
        }
    }
    rest.iter().rposition(|byte| *byte == b'.')
}

/// Places a name relative to the apex.
fn below_apex(relative: &[u8]) -> Place<'_> {
    if let [rest @ .., b'.', b's', b'v', b'c'] = relative {
        return below_svc(rest);
    }
    let (rest, label) = split_last(relative);
    match (rest, label) {
        (None, b"svc" | b"pod" | b"dns" | b"dns-version") => Place::NoData,
        (Some(b"ns"), b"dns") => Place::NotHeld,
        (Some(rest), b"pod") => below_pod(rest),
        _ => Place::NxDomain,
    }
}

/// Places a name relative to `svc.<apex>`.
fn below_svc(relative: &[u8]) -> Place<'_> {
    let (rest, namespace) = split_last(relative);
    let Some(rest) = rest else {
        return Place::Namespace(relative);
    };
    let (rest, service) = split_last(rest);
    let Some(rest) = rest else {
        return service_at(relative, namespace, service, Below::Itself);
    };
    // `relative` is `rest`, a dot, and the key.
    let Some((_, [_, key @ ..])) = relative.split_at_checked(rest.len()) else {
        return Place::NxDomain;
    };
    let (rest, last) = split_last(rest);
    let below = match rest {
        None if last.first() == Some(&b'_') => Below::Protocol(without_underscore(last)),
        None => Below::Endpoint(last),
        Some(name) if name.iter().any(|byte| *byte == b'.') => return Place::NxDomain,
        // CoreDNS takes a lone underscore for whatever port or protocol there is.
        Some(name) if name == b"_" || last == b"_" => return Place::NotHeld,
        // RFC 2782 writes both with an underscore; CoreDNS also answers without.
        Some(name) => Below::Port {
            name: without_underscore(name),
            protocol: without_underscore(last),
        },
    };
    service_at(key, namespace, service, below)
}

/// A service's name, unless it holds a wildcard, which no cluster answers.
fn service_at<'n>(
    key: &'n [u8],
    namespace: &'n [u8],
    service: &'n [u8],
    below: Below<'n>,
) -> Place<'n> {
    if service == b"*" || namespace == b"*" || below == Below::Endpoint(b"*") {
        return Place::NxDomain;
    }
    Place::Service {
        key,
        namespace,
        below,
    }
}

/// Places a name relative to `pod.<apex>`.
fn below_pod(relative: &[u8]) -> Place<'_> {
    let (rest, namespace) = split_last(relative);
    match rest {
        Some(address) if address.iter().any(|byte| *byte == b'.') => Place::NxDomain,
        address => Place::Pod { address, namespace },
    }
}

/// `_http` or `http` to `http`.
fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

#[cfg(test)]
mod tests {
    use super::{Below, Place, below_apex, last_dot};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_dot_is_found(text in prop::collection::vec(
            prop_oneof![1 => Just(b'.'), 6 => any::<u8>()], 0..40,
        )) {
            prop_assert_eq!(last_dot(&text), text.iter().rposition(|byte| *byte == b'.'));
        }
    }

    #[test]
    fn places() {
        let service = |key, namespace, below| Place::Service {
            key,
            namespace,
            below,
        };
        let cases: [(&[u8], Place<'_>); 26] = [
            (b"svc", Place::NoData),
            (b"pod", Place::NoData),
            (b"dns-version", Place::NoData),
            (b"dns", Place::NoData),
            (b"ns.dns", Place::NotHeld),
            (b"x.dns", Place::NxDomain),
            (b"foo", Place::NxDomain),
            (b"foo.bar", Place::NxDomain),
            (b"xsvc", Place::NxDomain),
            (b"shop.svc", Place::Namespace(b"shop")),
            (
                b"api.shop.svc",
                service(b"api.shop", b"shop", Below::Itself),
            ),
            (
                b"db-0.db.shop.svc",
                service(b"db.shop", b"shop", Below::Endpoint(b"db-0")),
            ),
            (
                b"_tcp.api.shop.svc",
                service(b"api.shop", b"shop", Below::Protocol(b"tcp")),
            ),
            (
                b"_http._tcp.api.shop.svc",
                service(
                    b"api.shop",
                    b"shop",
                    Below::Port {
                        name: b"http",
                        protocol: b"tcp",
                    },
                ),
            ),
            (
                b"http.tcp.api.shop.svc",
                service(
                    b"api.shop",
                    b"shop",
                    Below::Port {
                        name: b"http",
                        protocol: b"tcp",
                    },
                ),
            ),
            (b"a.b.c.api.shop.svc", Place::NxDomain),
            (b"_._tcp.api.shop.svc", Place::NotHeld),
            (b"_http._.api.shop.svc", Place::NotHeld),
            (b"_._.api.shop.svc", Place::NotHeld),
            (b"_.x._.api.shop.svc", Place::NxDomain),
            (b"*.shop.svc", Place::NxDomain),
            (b"api.*.svc", Place::NxDomain),
            (b"*.api.shop.svc", Place::NxDomain),
            (
                b"shop.pod",
                Place::Pod {
                    address: None,
                    namespace: b"shop",
                },
            ),
            (
                b"1-2-3-4.shop.pod",
                Place::Pod {
                    address: Some(b"1-2-3-4"),
                    namespace: b"shop",
                },
            ),
            (b"x.1-2-3-4.shop.pod", Place::NxDomain),
        ];
        for (name, expected) in cases {
            assert_eq!(below_apex(name), expected, "{}", name.escape_ascii());
        }
    }
}
