//! Lines, messages, and what is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const LINES: &[&str] = &[
    "api.shop.svc.cluster.local\tA\tNOERROR\taa\tapi.shop.svc.cluster.local 5 A 10.96.1.10\t-\t-",
    "_http._tcp.web.shop.svc.cluster.local\tSRV\tNOERROR\taa\t_http._tcp.web.shop.svc.cluster.local 5 SRV 0 100 80 web.shop.svc.cluster.local\t-\tweb.shop.svc.cluster.local 5 A 10.96.1.11 | web.shop.svc.cluster.local 5 AAAA fd00:96::11",
    "x.cluster.local\tHTTPS\tNXDOMAIN\taa\t-\tcluster.local 5 SOA ns.dns.cluster.local hostmaster.cluster.local * 7200 1800 86400 5\t-",
    "dns-version.cluster.local\tTXT\tNOERROR\taa\tdns-version.cluster.local 5 TXT \"1.1.0\"\t-\t-",
    "a\\032b.cluster.local\tTYPE4711\tSERVFAIL\t-\ta\\032b.cluster.local 5 TYPE4711 \\# 2 0aff\t-\t-",
    ".\tNS\tREFUSED\t-\t-\t-\t-",
];

#[test]
fn lines_and_messages_hold_the_same() {
    for line in LINES {
        let recording = Recording::from_line(line).unwrap();
        assert_eq!(recording.to_string(), *line);
        let question = wire::parse(&query(7, &recording.name, recording.kind)).unwrap();
        let message = recording.respond(&question, 65_535);
        assert_eq!(
            Recording::from_message(&message).unwrap().to_string(),
            *line
        );
    }
}

#[test]
fn aliases_lead_to_their_targets() {
    let line = "z.cluster.local\tA\tNOERROR\taa\ta.example.com 5 A 192.0.2.1 | \
                y.cluster.local 5 CNAME a.example.com | z.cluster.local 5 CNAME y.cluster.local\t-\t-";
    let recording = Recording::from_line(line).unwrap();
    let owners = recording.chained(&recording.sections[0]);
    let owners: Vec<_> = owners.iter().map(|record| record.owner.as_str()).collect();
    assert_eq!(
        owners,
        ["z.cluster.local", "y.cluster.local", "a.example.com"]
    );
}

#[test]
fn what_does_not_fit_is_cut_and_marked() {
    let recording = Recording::from_line(LINES[1]).unwrap();
    let question = wire::parse(&query(7, &recording.name, recording.kind)).unwrap();
    let whole = recording.respond(&question, 65_535);
    let cut = recording.respond(&question, whole.len() - 1);
    assert_eq!((whole[2] & 2, cut[2] & 2), (0, 2));
    assert!(Recording::from_message(&cut).unwrap().sections[2].len() == 1);
}

#[test]
fn odd_lines_are_refused() {
    for line in [
        "a\tA\tNOERROR\taa\t-\t-",
        "a\tB\tNOERROR\taa\t-\t-\t-",
        "a\tA\tODD\taa\t-\t-\t-",
        "a\tA\tNOERROR\taa\ta 5 A ::1\t-\t-",
        "a\tA\tNOERROR\taa\ta 5 SRV 1 2 b\t-\t-",
    ] {
        assert!(Recording::from_line(line).is_err(), "{line}");
    }
}
