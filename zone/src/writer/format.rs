//! The example in docs/ZONE-FORMAT.md: written by the writer, explained here by a second reader that
//! knows the document and nothing of this crate's code. Fails when document and writer differ;
//! `NSS_K8S_BLESS=1` writes the document anew.

use super::{
    Config, Endpoint, Port, Protocol, ServiceBody, ServiceKey, Slice, SliceId,
    adopt::{Birth, Identity},
    memory::Memory,
    zone::Zone,
};
use crate::{Address, Family, Now, sync::AtomicU64};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

#[test]
fn the_document_shows_what_the_writer_writes() {
    shows("example", &explain(&example()));
}

/// Fails unless the document shows this example between the comments of that name.
pub(super) fn shows(name: &str, example: &str) {
    let begin = format!("<!-- {name}: begin -->\n");
    let end = format!("<!-- {name}: end -->\n");
    // Two examples may be blessed at once.
    static DOCUMENT: Mutex<()> = Mutex::new(());
    let _one = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ZONE-FORMAT.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(&begin).unwrap();
    let (shown, after) = rest.split_once(&end).unwrap();
    let example = format!("```text\n{example}```\n");
    if std::env::var_os("NSS_K8S_BLESS").is_some() {
        fs::write(&path, format!("{before}{begin}{example}{end}{after}")).unwrap();
        return;
    }
    assert!(
        shown == example,
        "docs/ZONE-FORMAT.md is stale; it should show\n{example}"
    );
}

/// A zone with two services and one endpoint, always the same.
fn example() -> Vec<u64> {
    let words: Vec<AtomicU64> = (0..8192).map(|_| AtomicU64::new(0)).collect();
    let memory = Memory::over(words.leak(), 8192);
    let birth = Birth {
        created: 1_700_000_000,
        instance: 0x1122_3344_5566_7788,
        seeds: || 7,
    };
    let identity = Identity {
        apex: "cluster.local",
        view: "default",
    };
    let mut zone = Zone::create(memory, 65_536, identity, birth).unwrap();
    let config = Config {
        cluster_dns: vec![Address::v4([10, 96, 0, 10])],
        ..Config::default()
    };
    zone.configure(&config).unwrap();
    zone.put_namespace("shop").unwrap();
    let port = |name: &str, number| Port {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        number,
    };
    let key = |name| ServiceKey::new(name, "shop").unwrap();
    let addresses = vec![Address::v4([10, 96, 0, 1])];
    let api = ServiceBody::ClusterIp {
        addresses,
        ports: vec![port("http", 80)],
    };
    zone.put_service(&key("api"), &api).unwrap();
    zone.put_service(&key("db"), &ServiceBody::Headless { ports: vec![] })
        .unwrap();
    let endpoint = Endpoint {
        hostname: Some("db-0".to_owned()),
        topology_zone: Some("zone-a".to_owned()),
        ..Endpoint::ready(Address::v4([10, 244, 0, 7]))
    };
    let ports = vec![port("pg", 5432)];
    let slice = Slice {
        family: Family::V4,
        ports,
        endpoints: vec![endpoint],
    };
    zone.put_slice(&key("db"), SliceId(0xabcd), &slice).unwrap();
    zone.beat(Now(1_700_000_100));
    zone.set_synced(Now(1_700_000_050));
    (0..8192).map(|at| zone.heap.memory.load(at)).collect()
}

/// The second reader.
pub(super) struct Explained<'w> {
    pub(super) words: &'w [u64],
    pub(super) text: String,
}

/// One line per word, and what the document says of it.
fn explain(words: &[u64]) -> String {
    let mut out = Explained {
        words,
        text: String::new(),
    };
    out.title("line 0: identity");
    out.line(0, "magic \"nss-k8s\\0\"");
    out.line(1, "major 1, minor 0, no incompatible feature");
    out.line(2, "instance");
    out.line(3, "FNV-1a of the view \"default\"");
    out.line(4, "created, unix seconds");
    out.line(5, "13 bytes of apex");
    out.line(7, "CRC-32C");
    out.title("line 1: hot");
    out.line(8, "epoch");
    let root = words[9];
    let (line, main, ptr) = (
        root & 0x0fff_ffff,
        root >> 28 & 0x3_ffff,
        root >> 46 & 0x1_ffff,
    );
    out.line(
        9,
        &format!("root: line {line:#x}, {main} x 16 lines of names, {ptr} x 16 of addresses"),
    );
    out.line(10, "committed words: 64 KiB");
    out.line(11, "state: live");
    out.line(12, "granule of CONFIG");
    out.line(13, "alive, unix seconds");
    out.line(14, "synced, unix seconds");
    out.title("line 2: cold");
    out.line(16, "serial");
    out.title("line 4: apex");
    out.line(32, "\"cluster.\"");
    out.line(33, "\"local\"");
    let config = words[12] as usize * 2;
    out.title("CONFIG record");
    out.line(config, "kind 1, 3 granules");
    out.line(config + 1, "no flag, pods insecure, misses ask, TTL 5");
    out.line(config + 2, "stale after 30 s, dead after 300 s");
    out.line(
        config + 3,
        "disabled 0, 1 IPv4 name server, no suffix, no build",
    );
    out.line(config + 4, "10.96.0.10");
    let region = line as usize * 8;
    out.title("region");
    out.line(region, "kind 32, complete, 132 granules");
    out.line(region + 1, "seed");
    out.line(region + 2, "seed");
    let main_end = region + 8 + main as usize * 128;
    let mut records = Vec::new();
    for at in (region + 8..main_end).filter(|at| words[*at] != 0) {
        let granule = words[at] as u32;
        let number = at - region - 8;
        out.line(
            at,
            &format!(
                "name slot {number}: tag {:08x}, granule {granule:#x}",
                words[at] >> 32
            ),
        );
        records.push(granule as usize * 2);
    }
    for at in (main_end..main_end + ptr as usize * 128).filter(|at| words[*at] != 0) {
        let slot = words[at] as u32 - 2;
        let number = at - main_end;
        out.line(
            at,
            &format!(
                "address slot {number}: tag {:08x}, name slot {slot}",
                words[at] >> 32
            ),
        );
    }
    records.sort_by_key(|at| (words[*at] as u8, *at));
    for at in records {
        out.record(at);
    }
    out.text
}

impl Explained<'_> {
    pub(super) fn title(&mut self, title: &str) {
        writeln!(self.text, "{title}").unwrap();
    }

    pub(super) fn line(&mut self, at: usize, meaning: &str) {
        let bytes = self.words[at].to_le_bytes();
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.text, "  {:05x}  {}  {meaning}", at * 8, hex.join(" ")).unwrap();
    }

    /// Text of so many bytes; the word after it.
    pub(super) fn string(&mut self, at: usize, length: usize, what: &str) -> usize {
        let end = at + length.div_ceil(8);
        let bytes: Vec<u8> = self.words[at..end]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        for word in at..end {
            let part = &bytes[(word - at) * 8..((word - at + 1) * 8).min(length)];
            self.line(word, &format!("{what} \"{}\"", part.escape_ascii()));
        }
        end
    }

    fn record(&mut self, at: usize) {
        let (first, counts) = (self.words[at], self.words[at + 1]);
        let kind = match first as u8 {
            2 => "NAMESPACE",
            3 => "SERVICE",
            4 => "HEADLESS",
            other => panic!("kind {other}"),
        };
        let key_length = (first >> 16 & 0xffff) as usize;
        self.title(&format!("{kind} record"));
        self.line(
            at,
            &format!(
                "kind {}, key of {key_length} bytes, {} granules",
                first as u8,
                first >> 32
            ),
        );
        let (v4, v6, ports) = (counts & 0xff, counts >> 8 & 0xff, counts >> 16 & 0xffff);
        let (chunks, target) = (counts >> 32 & 0xffff, counts >> 48);
        assert_eq!((v6, target), (0, 0));
        self.line(
            at + 1,
            &format!("{v4} IPv4, {v6} IPv6, {ports} ports, {chunks} chunks, no target"),
        );
        let mut next = self.string(at + 2, key_length, "key");
        for _ in 0..v4.div_ceil(2) {
            self.line(next, "addresses");
            next += 1;
        }
        let references: Vec<usize> = (0..chunks as usize).map(|index| next + index).collect();
        for reference in &references {
            self.line(*reference, "granule of a chunk");
            next += 1;
        }
        self.ports(next, ports);
        for reference in references {
            self.chunk(self.words[reference] as usize * 2);
        }
    }

    fn ports(&mut self, at: usize, count: u64) -> usize {
        let mut next = at;
        for _ in 0..count {
            let port = self.words[next];
            let (number, protocol, length) = (port & 0xffff, port >> 16 & 0xff, port >> 24 & 0xff);
            self.line(
                next,
                &format!("port {number}, protocol {protocol}, name of {length} bytes"),
            );
            next = self.string(next + 1, length as usize, "name");
        }
        next
    }

    fn chunk(&mut self, at: usize) {
        let counts = self.words[at + 2];
        let (zones, ports) = (counts >> 8 & 0xff, counts >> 16 & 0xffff);
        let (endpoints, served) = (counts >> 32 & 0xffff, counts >> 48);
        self.title("CHUNK");
        self.line(
            at,
            &format!("kind 16, named, {} granules", self.words[at] >> 32),
        );
        self.line(at + 1, "slice id");
        let all = format!(
            "IPv{}, {zones} zone, {ports} port, {endpoints} endpoint, {served} served",
            counts & 0xff
        );
        self.line(at + 2, &all);
        self.line(at + 3, "addresses");
        self.line(at + 4, "attributes: ready, zone 1");
        let name = self.words[at + 5];
        let (offset, length) = (name >> 32 & 0xff_ffff, name >> 56);
        self.line(
            at + 5,
            &format!(
                "FNV-1a {:08x}, name at word {offset}, {length} bytes",
                name as u32
            ),
        );
        let next = self.ports(at + 6, ports);
        self.line(next, "zone of 6 bytes");
        let next = self.string(next + 1, 6, "zone");
        assert_eq!(next, at + offset as usize);
        self.string(next, length as usize, "host name");
    }
}
