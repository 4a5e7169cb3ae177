//! What the stub parses: files that a pod's owner writes, and names that a program passes.

#![allow(dead_code, reason = "each fuzz target uses one of these")]

use nss_k8s_stub::{
    Address, By, Door, Families, Family, Name, Outcome, Query, Question,
    ask::Asked,
    hosts::{Hosts, Lines, Listed, MAX_HOSTS_SLOTS, MAX_HOSTS_TEXT},
    literal,
    nsswitch::{Placement, Sources},
    resolv_conf::{MAX_NAMESERVERS, ResolvConf, Surroundings},
    sys::Libc,
    walk::{self, Errands, Lookup, Settings},
};
use nss_k8s_zone::{
    Reader,
    proofs::{Image, SAMPLE_NOW, sample_image, words_read},
};
use std::{ffi::CString, net::Ipv6Addr, sync::OnceLock};

/// No walk reads more words of the zone.
const MOST_WORDS: u64 = 64 * 1024;
/// Each libc reads by rules of its own.
const LIBCS: [Libc; 2] = [Libc::Glibc, Libc::Musl];

/// resolv.conf (with its environment), hosts and nsswitch.conf: the parts between bytes 0xff.
pub(crate) fn resolver_files(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0xff);
    let text = parts.next().unwrap_or_default();
    let surroundings = Surroundings {
        local_domain: parts.next(),
        res_options: parts.next(),
        host_name: parts.next(),
    };
    for libc in LIBCS {
        if let Ok(read) = ResolvConf::parse(libc, text, &surroundings) {
            assert!((1..=MAX_NAMESERVERS).contains(&read.nameservers().len()));
            assert!(read.ndots <= 15);
            assert_eq!(read.search.is_empty(), read.search.iter().next().is_none());
            // Read once more, it is the same.
            assert_eq!(ResolvConf::parse(libc, text, &surroundings), Ok(read));
        }
        hosts(libc, text);
    }
    let _ = Sources::parse(text, None);
}

/// The index errs towards yes: every name that a naive reader sees behind an address is found. What
/// is read of the lines themselves is bounded by the file.
fn hosts(libc: Libc, text: &[u8]) {
    let mut slots = vec![0; MAX_HOSTS_SLOTS];
    let Some(size) = Hosts::parse(libc, text, &mut slots) else {
        let words = text.split(|byte| is_blank(*byte)).count();
        assert!(
            text.len() > MAX_HOSTS_TEXT
                || words > 1_000
                || text.contains(&0)
                || (libc == Libc::Glibc && !text.ends_with(b"\n")),
            "refused without a reason"
        );
        return;
    };
    assert!(size.is_power_of_two() && size <= MAX_HOSTS_SLOTS);
    let hosts = Hosts::new(libc, Lines::All, text, &slots[..size]);
    let mut room = [Address::UNSPECIFIED; 8];
    let mut canonical = Name::EMPTY;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        if libc == Libc::Musl && line.len() > 510 {
            continue;
        }
        let mut words = line
            .split(|byte| is_blank(*byte))
            .filter(|word| !word.is_empty());
        words.next();
        for word in words {
            assert!(hosts.contains_name(word), "{}", word.escape_ascii());
            for families in [Families::BOTH, Families::V4, Families::V6] {
                if let Listed::Found(count) =
                    hosts.addresses(word, families, &mut room, &mut canonical)
                {
                    assert!(count <= room.len() && !canonical.is_empty());
                }
            }
            assert!(hosts.aliases(word, Family::V4).count() <= text.len());
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A name (up to a byte 0xff), looked up under a resolv.conf (the rest) in the sample zone.
pub(crate) fn names(bytes: &[u8]) {
    let (name, text) = match bytes.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, KUBELET),
    };
    literals(name);
    for libc in LIBCS {
        for door in [Door::Nss, Door::Shim] {
            look_up(libc, door, name, text);
        }
    }
}

/// What the kubelet writes.
const KUBELET: &[u8] = b"search shop.svc.cluster.local svc.cluster.local cluster.local\n\
    nameserver 10.96.0.10\noptions ndots:5\n";

/// One walk through the search list.
fn look_up(libc: Libc, door: Door, name: &[u8], text: &[u8]) {
    let settings = Settings {
        libc,
        resolv_conf: ResolvConf::parse(libc, text, &Surroundings::default()),
        placement: Placement::Certain,
        host_aliases: false,
        module_asks: false,
    };
    let mut room = [Address::UNSPECIFIED; 64];
    let mut canonical = Name::EMPTY;
    let mut candidates;
    let query = Query {
        name,
        families: Families::BOTH,
        door,
    };
    let question = Question::new(&query);
    let mut errands = Errands::new();
    let mut script = text.iter().chain(name).copied();
    errands.willing = script.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let outcome = loop {
        candidates = 0;
        let before = words_read();
        let outcome = Reader::new().read(image(), c"/zone.v1", SAMPLE_NOW, |zone| {
            walk::resolve(
                &settings,
                zone,
                &query,
                &mut errands,
                &mut room,
                &mut canonical,
                &mut |_| candidates += 1,
            )
        });
        let words = words_read() - before;
        assert!(words <= MOST_WORDS, "a walk read {words} words");
        // Doubtful candidates may make a second round.
        assert!(candidates <= 68, "{candidates} candidates");
        let outcome = outcome.expect("the sample zone is fine");
        let (Some(wanted), Ok(question)) = (errands.wanted(), &question) else {
            break outcome;
        };
        assert!(!wanted.is_empty());
        let asked = match script.next().unwrap_or(0) % 8 {
            0 => Asked::Answer { count: 1 },
            1 => Asked::Room(100),
            2 => Asked::NoData,
            3 => Asked::ServFail,
            4 => Asked::Refused,
            5 => Asked::NoReply,
            _ => Asked::NxDomain,
        };
        let lookup = Lookup {
            libc,
            resolv_conf: settings.resolv_conf.as_ref().expect("it was walked"),
            question,
        };
        canonical.clear();
        if let Some(end) = errands.learn(&lookup, By::Upstream, asked, &mut canonical) {
            break end;
        }
    };
    match outcome.plain() {
        Outcome::Answer { count } => {
            assert!(count > 0 && count <= room.len() && candidates > 0);
            assert!(!canonical.is_empty());
        }
        Outcome::NoData | Outcome::NxDomain | Outcome::Again => assert!(candidates > 0),
        Outcome::Hosts { .. } => panic!("the walk knows no hosts file"),
        Outcome::Chase => assert!(!canonical.is_empty()),
        Outcome::Room(count) => assert!(count > room.len()),
        Outcome::Pass(_) | Outcome::Asked(..) => {}
    }
}

/// Whatever libc takes for an address is left to it; what we parse ourselves we parse as others do.
fn literals(name: &[u8]) {
    if let Ok(text) = CString::new(name)
        && is_numeric_to_libc(&text)
    {
        assert!(literal::is_literal(name), "{text:?} is an address to libc");
    }
    let theirs = std::str::from_utf8(name)
        .ok()
        .and_then(|text| text.parse::<Ipv6Addr>().ok());
    if let Some(address) = theirs {
        assert_eq!(literal::parse_ipv6(name), Some(address.octets()));
    }
    let _ = (literal::parse_ipv4(name), literal::parse_address(name));
}

/// Whether libc needs nobody to resolve `text`.
fn is_numeric_to_libc(text: &CString) -> bool {
    // SAFETY: all-zero is a valid `addrinfo` of hints.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = libc::AI_NUMERICHOST;
    let mut list = std::ptr::null_mut();
    // SAFETY: a C string, valid hints and room for one pointer.
    let result = unsafe { libc::getaddrinfo(text.as_ptr(), std::ptr::null(), &hints, &mut list) };
    if result == 0 {
        // SAFETY: getaddrinfo returned this list.
        unsafe { libc::freeaddrinfo(list) };
    }
    result == 0
}

/// The sample zone, made once.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(sample_image)
}

/// host.conf and gai.conf: read twice alike; what says nothing changes nothing.
pub(crate) fn host_files(bytes: &[u8]) {
    use nss_k8s_stub::{hosts::Lines as Which, proofs};
    let which = proofs::host_conf(bytes);
    assert_eq!(proofs::host_conf(bytes), which);
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    if which == Which::All {
        assert!(text.contains("multi") && text.contains("on"));
    }
    // ::1, 127.0.0.1 and 2002::1, as glibc's own tables rate them.
    for (address, rated) in [
        (1, [0, 50, 14]),
        (0xffff_7f00_0001, [4, 10, 2]),
        (0x2002 << 112 | 1, [2, 30, 14]),
    ] {
        let read = proofs::gai_conf(bytes, address);
        assert_eq!(proofs::gai_conf(bytes, address), read);
        let speaks = ["label", "precedence", "scopev4", "reload"];
        if !speaks.iter().any(|word| text.contains(word)) {
            assert_eq!(
                read.map(|read| read[..2].to_vec()),
                Some(rated[..2].to_vec())
            );
        }
    }
}
