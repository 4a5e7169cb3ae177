//! The example of held answers in docs/ZONE-FORMAT.md, as [`super::super::format`] has the zone's.

use super::{Held, HeldAnswer, HeldVerdict, record};
use crate::{
    Address, Now,
    sync::AtomicU64,
    writer::{
        adopt::{Birth, Identity},
        format::{Explained, shows},
        memory::Memory,
        zone::Zone,
    },
};

#[test]
fn the_document_shows_what_the_writer_writes() {
    shows("held example", &explain(&example()));
}

/// A file with one name, always the same.
fn example() -> Vec<u64> {
    let words: Vec<AtomicU64> = (0..8192).map(|_| AtomicU64::new(0)).collect();
    let memory = Memory::over(words.leak(), 8192);
    let birth = Birth {
        created: 1_700_000_000,
        instance: 0x1122_3344_5566_7788,
        seeds: || 7,
    };
    let identity = Identity {
        apex: "",
        view: "default",
    };
    let mut zone = Zone::create(memory, 65_536, identity, birth).unwrap();
    let held = Held {
        v4: Some(HeldAnswer {
            expires: Some(Now(1_700_000_270)),
            verdict: HeldVerdict::Data {
                addresses: vec![
                    Address::v4([192, 0, 2, 1]),
                    Address::v4([192, 0, 2, 2]),
                    Address::v4([192, 0, 2, 3]),
                ],
                canonical: Some("edge-7.cdn.example".to_owned()),
            },
        }),
        v6: Some(HeldAnswer {
            expires: Some(Now(1_700_000_054)),
            verdict: HeldVerdict::Data {
                addresses: vec![],
                canonical: Some("edge-7.cdn.example".to_owned()),
            },
        }),
    };
    let name = "www.example.com";
    zone.commit(name, &record::encode(name, &held).unwrap(), &[])
        .unwrap();
    (0..8192).map(|at| zone.heap.memory.load(at)).collect()
}

/// One line per word, and what the document says of it.
fn explain(words: &[u64]) -> String {
    let mut out = Explained {
        words,
        text: String::new(),
    };
    out.title("line 0: identity");
    out.line(1, "major 1, minor 0, feature 1: held answers");
    out.line(5, "0 bytes of apex");
    let region = (words[9] & 0x0fff_ffff) as usize * 8;
    let lines = (words[9] >> 28 & 0x3_ffff) as usize * 16;
    out.title("region");
    let slots: Vec<usize> = (region + 8..region + 8 + lines * 8)
        .filter(|at| words[*at] != 0)
        .collect();
    assert_eq!(slots.len(), 1);
    let (tag, granule) = (words[slots[0]] >> 32, words[slots[0]] as u32);
    let number = slots[0] - region - 8;
    out.line(
        slots[0],
        &format!("name slot {number}: tag {tag:08x}, granule {granule:#x}"),
    );
    out.title("HELD record");
    let at = granule as usize * 2;
    let (first, second) = (words[at], words[at + 1]);
    let key = (first >> 16 & 0xffff) as usize;
    assert_eq!((first as u8, first >> 8 & 0xff), (7, 0));
    out.line(
        at,
        &format!("kind 7, key of {key} bytes, {} granules", first >> 32),
    );
    let (v4, v6) = (second & 0xff, second >> 8 & 0xff);
    let verdicts = (second >> 16 & 7, second >> 19 & 7);
    let canonical = (second >> 48) as usize;
    out.line(
        at + 1,
        &format!(
            "{v4} IPv4, {v6} IPv6, verdicts {} and {}, canonical name of {canonical} bytes",
            verdicts.0, verdicts.1
        ),
    );
    let mut next = out.string(at + 2, key, "key");
    for _ in 0..v4.div_ceil(2) + v6 * 2 {
        out.line(next, "addresses");
        next += 1;
    }
    let next = out.string(next, canonical, "canonical name");
    out.line(
        next,
        &format!(
            "A ends at {}, AAAA at {}",
            words[next] as u32,
            words[next] >> 32
        ),
    );
    out.text
}
