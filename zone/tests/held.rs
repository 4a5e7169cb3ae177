//! Held answers: what is put is answered until it expires, and nothing else is.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "ordinary std tests; the ban is for the in-process code"
)]

use nss_k8s_zone::{
    Address, Ask, Dump, Families, Family, Found, Held, HeldAnswer, HeldDump, HeldOpened,
    HeldOptions, HeldVerdict, HeldWriter, LibcOs, Name, Now, OpenError, Options, Reader, State,
    Unavailable, Writer,
};
use std::{ffi::CString, os::unix::ffi::OsStrExt as _, path::Path, time::Instant};

const NOW: Now = Now(1_700_000_000);
const NAME: &str = "www.example.com";
const NOT_HELD: Found = Found::Ask(Ask::NotHeld);

#[test]
fn families_are_answered_as_they_were_put() {
    let mut world = World::new();
    let (one, six) = (v4(1), v6(1));
    let both = Found::Answer { count: 2 };
    let single = Found::Answer { count: 1 };
    // What is held of A and AAAA; what is then said to questions for both, for A and for AAAA.
    type Row = ([Option<HeldVerdict>; 2], [Found; 3]);
    let rows: [Row; 9] = [
        ([data(&[one]), data(&[six])], [both, single, single]),
        ([data(&[one]), data(&[])], [single, single, Found::NoData]),
        ([data(&[]), data(&[six])], [single, Found::NoData, single]),
        ([data(&[]), data(&[])], [Found::NoData; 3]),
        ([nxdomain(), nxdomain()], [Found::NxDomain; 3]),
        ([data(&[one]), None], [NOT_HELD, single, NOT_HELD]),
        ([None, data(&[six])], [NOT_HELD, NOT_HELD, single]),
        ([nxdomain(), None], [NOT_HELD, Found::NxDomain, NOT_HELD]),
        // Servers that deny one type of a name that exists: each libc makes something else of it.
        (
            [data(&[one]), nxdomain()],
            [NOT_HELD, single, Found::NxDomain],
        ),
    ];
    for ([first, second], expected) in rows {
        let context = format!("{first:?} {second:?}");
        let held = Held {
            v4: first.map(|verdict| until(60, verdict)),
            v6: second.map(|verdict| until(60, verdict)),
        };
        assert!(world.writer.put(NAME, &held).unwrap(), "{context}");
        assert_eq!(world.writer.held(NAME), Some(held), "{context}");
        let told = [Families::BOTH, Families::V4, Families::V6]
            .map(|families| world.ask(NAME, families, NOW).0);
        assert_eq!(told, expected, "{context}");
    }
    assert_eq!(world.ask("example.com", Families::BOTH, NOW).0, NOT_HELD);
    assert!(world.writer.remove(NAME) && !world.writer.remove(NAME));
    assert_eq!(world.ask(NAME, Families::BOTH, NOW).0, NOT_HELD);
}

#[test]
fn addresses_and_canonical_names_arrive() {
    let mut world = World::new();
    let answer = |addresses: &[Address], canonical: Option<&str>| {
        Some(until(
            60,
            HeldVerdict::Data {
                addresses: addresses.to_vec(),
                canonical: canonical.map(str::to_owned),
            },
        ))
    };
    let (fours, sixes) = ([v4(1), v4(2), v4(3)], [v6(1), v6(2)]);
    // Canonical names of A and AAAA; those told to questions for both, for A and for AAAA.
    let rows = [
        ([None, None], ["", "", ""]),
        ([Some("a.cdn"), Some("a.cdn")], ["a.cdn"; 3]),
        ([Some("a.cdn"), Some("b.cdn")], ["a.cdn", "a.cdn", "b.cdn"]),
        ([None, Some("b.cdn")], ["", "", "b.cdn"]),
        ([Some("a.cdn"), None], ["a.cdn", "a.cdn", ""]),
        ([Some(NAME), Some("WWW.EXAMPLE.COM.")], ["", "", ""]),
    ];
    for ([first, second], expected) in rows {
        let held = Held {
            v4: answer(&fours, first),
            v6: answer(&sixes, second),
        };
        world.writer.put(NAME, &held).unwrap();
        for (families, canonical) in [Families::BOTH, Families::V4, Families::V6]
            .into_iter()
            .zip(expected)
        {
            let (found, addresses, told) = world.ask(NAME, families, NOW);
            let mut wanted: Vec<Address> = Vec::new();
            wanted.extend(fours.iter().filter(|_| families.v4));
            wanted.extend(sixes.iter().filter(|_| families.v6));
            wanted.sort_unstable();
            assert_eq!((addresses, told.as_str()), (wanted, canonical), "{held:?}");
            assert!(matches!(found, Found::Answer { .. }));
        }
    }
    // No A records: the canonical name is that of the addresses.
    let held = Held {
        v4: answer(&[], Some("a.cdn")),
        v6: answer(&sixes, Some("b.cdn")),
    };
    world.writer.put(NAME, &held).unwrap();
    assert_eq!(world.ask(NAME, Families::BOTH, NOW).2, "b.cdn");
    assert_eq!(world.ask(NAME, Families::V4, NOW).2, "a.cdn");
}

#[test]
fn a_small_room_says_how_large_it_must_be() {
    let mut world = World::new();
    let addresses: Vec<Address> = (0..255).map(v4).collect();
    let held = Held {
        v4: Some(until(60, data(&addresses).unwrap())),
        v6: None,
    };
    world.writer.put(NAME, &held).unwrap();
    let mut canonical = Name::EMPTY;
    let mut room = [Address::UNSPECIFIED; 10];
    let found = world.reader.read(&LibcOs, &world.path, NOW, |snapshot| {
        snapshot.held(
            NAME.as_bytes(),
            Families::V4,
            NOW,
            &mut room,
            &mut canonical,
        )
    });
    assert_eq!(found, Ok(Found::Room(255)));
    // A record counts no more.
    let addresses: Vec<Address> = (0..=255).map(v4).collect();
    let held = Held {
        v4: Some(until(60, data(&addresses).unwrap())),
        v6: None,
    };
    assert!(world.writer.put(NAME, &held).is_err());
}

#[test]
fn answers_end_when_they_expire_whoever_is_alive() {
    let mut world = World::new();
    let now = NOW;
    world
        .writer
        .put_family(NAME, Family::V4, Some(until(60, nxdomain().unwrap())), now)
        .unwrap();
    world
        .writer
        .put_family(NAME, Family::V6, Some(until(30, nxdomain().unwrap())), now)
        .unwrap();
    // Nobody beats from here on.
    let told = |world: &World, families, after| world.ask(NAME, families, Now(NOW.0 + after)).0;
    assert_eq!(told(&world, Families::BOTH, 29), Found::NxDomain);
    assert_eq!(told(&world, Families::BOTH, 30), NOT_HELD);
    assert_eq!(told(&world, Families::V4, 30), Found::NxDomain);
    assert_eq!(told(&world, Families::V4, 59), Found::NxDomain);
    assert_eq!(told(&world, Families::V4, 60), NOT_HELD);
    // The other family is forgotten when one is put after its end.
    let later = Now(NOW.0 + 31);
    let answer = HeldAnswer {
        expires: Some(Now(later.0 + 10)),
        verdict: HeldVerdict::NxDomain,
    };
    world
        .writer
        .put_family(NAME, Family::V4, Some(answer), later)
        .unwrap();
    assert_eq!(world.writer.held(NAME).unwrap().v6, None);
    assert_eq!(world.writer.expire(Now(later.0 + 9)), 0);
    assert_eq!(world.writer.expire(Now(later.0 + 10)), 1);
    assert_eq!(world.writer.held(NAME), None);
}

#[test]
fn what_never_expires_stays_and_a_clock_put_back_clears_the_rest() {
    let mut world = World::new();
    let fixed = Held {
        v4: Some(HeldAnswer {
            expires: None,
            verdict: data(&[v4(9)]).unwrap(),
        }),
        v6: None,
    };
    world.writer.put("fixed.example", &fixed).unwrap();
    world.writer.put(NAME, &held(60, 1)).unwrap();
    let far = Now(NOW.0 + (3 << 30));
    // From where the clock was put back to, the end is further away than any time to live.
    let before = Now(NOW.0 - 86_400);
    assert_eq!(world.ask(NAME, Families::V4, before).0, NOT_HELD);
    world.writer.beat(far);
    assert_eq!(
        world.ask("fixed.example", Families::V4, far).0,
        Found::Answer { count: 1 }
    );
    assert_eq!(world.writer.expire(Now(NOW.0 + 1)), 0);
    assert_eq!(world.writer.expire(Now(NOW.0 - 1)), 1);
    assert_eq!(world.writer.held(NAME), None);
    assert_eq!(world.writer.expire(far), 0);
    assert_eq!(world.writer.held("fixed.example"), Some(fixed));
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let mut world = World::with(|options| options.maximum_names = 3);
    for number in 0..3 {
        world.writer.put(&name(number), &held(60, number)).unwrap();
    }
    // Put again: the youngest now, although it is the first to expire.
    world.writer.put(&name(0), &held(5, 0)).unwrap();
    world.writer.put(&name(3), &held(60, 3)).unwrap();
    let told: Vec<bool> = (0..4)
        .map(|number| world.ask(&name(number), Families::V4, NOW).0 != NOT_HELD)
        .collect();
    assert_eq!(told, [true, false, true, true]);
    assert_eq!(world.writer.statistics().evicted, 1);
    assert_eq!(world.writer.statistics().names, 3);
}

#[test]
fn a_full_file_takes_new_names_again_once_old_ones_went() {
    let mut world = World::with(|options| {
        options.initial_bytes = 64 << 10;
        options.maximum_bytes = 128 << 10;
        options.maximum_names = 1 << 20;
    });
    let mut clock = Instant::now();
    let (mut refused, mut last) = (0, 0);
    for number in 0..10_000 {
        match world.writer.put(&name(number), &held(60, number)) {
            Ok(_) => last = number,
            Err(_) => refused += 1,
        }
        while let Some(due) = world.writer.advance(clock) {
            clock = due;
        }
    }
    let statistics = world.writer.statistics();
    assert!(refused > 0 && refused < 2_000, "{refused}");
    assert!(last > 9_000 && statistics.evicted > 1_000);
    assert_eq!(statistics.bytes, 128 << 10);
    assert_ne!(world.ask(&name(last), Families::V4, NOW).0, NOT_HELD);
}

#[test]
fn another_writer_goes_on_with_what_has_not_expired() {
    let mut world = World::new();
    world.writer.put(NAME, &held(60, 1)).unwrap();
    world.writer.put("old.example", &held(5, 2)).unwrap();
    let locked = HeldWriter::open(&world.options, NOW);
    assert!(matches!(locked, Err(OpenError::Locked { .. })));
    let world = world.restarted(Now(NOW.0 + 10));
    assert_eq!(world.opened, HeldOpened::Adopted { names: 1 });
    let later = Now(NOW.0 + 10);
    assert_eq!(
        world.ask(NAME, Families::V4, later).0,
        Found::Answer { count: 1 }
    );
    assert_eq!(world.writer.held("old.example"), None);
}

#[test]
fn a_file_is_dumped_while_it_is_written() {
    let mut world = World::new();
    let path = world.options.path();
    assert_eq!(HeldDump::open(&path).unwrap().entries(), []);
    world.writer.put("b.example", &held(60, 1)).unwrap();
    world.writer.put("a.example", &held(5, 2)).unwrap();
    let dump = HeldDump::open(&path).unwrap();
    let expected = [
        ("a.example".to_owned(), held(5, 2)),
        ("b.example".to_owned(), held(60, 1)),
    ];
    assert_eq!(dump.entries(), expected);
    assert_eq!((dump.state(), dump.alive()), (State::Live, NOW));
    assert_eq!(dump.bytes(), world.writer.statistics().bytes);
    assert!(Dump::open(&path).is_err());
}

#[test]
fn a_file_that_is_switched_off_says_nothing_until_the_next_writer() {
    let mut world = World::new();
    world.writer.put(NAME, &held(60, 1)).unwrap();
    world.writer.disable();
    assert_eq!(world.read(NAME), Err(Unavailable::Disabled));
    let world = world.restarted(NOW);
    assert_eq!(world.read(NAME), Ok(Found::Answer { count: 1 }));
}

#[test]
fn no_file_is_taken_for_one_of_the_other_kind() {
    let world = World::new();
    let (mut zone, _) = Writer::open(Options::new(world.directory(), "cluster.local")).unwrap();
    zone.beat(NOW);
    zone.set_synced(NOW);
    let zone_path = CString::new(zone.path().as_os_str().as_bytes()).unwrap();
    let ask = |reader: &Reader, path: &CString| {
        let mut room = [Address::UNSPECIFIED; 1];
        let mut canonical = Name::EMPTY;
        let name = b"svc.cluster.local";
        let families = Families::BOTH;
        reader.read(&LibcOs, path, NOW, |snapshot| {
            let zone = snapshot.addresses(name, families, &mut room, &mut canonical);
            let held = snapshot.held(name, families, NOW, &mut room, &mut canonical);
            (zone, held)
        })
    };
    let version = Err(Unavailable::Version);
    assert_eq!(ask(&Reader::new(), &world.path), version);
    assert_eq!(ask(&Reader::of_held(), &zone_path), version);
    // Each question has an answer in one of them alone.
    assert_eq!(
        ask(&Reader::new(), &zone_path),
        Ok((Found::NoData, NOT_HELD))
    );
    let corrupt = Found::Unavailable(Unavailable::Corrupt);
    assert_eq!(
        ask(&Reader::of_held(), &world.path),
        Ok((corrupt, NOT_HELD))
    );
    // A writer replaces what it cannot go on with.
    drop(zone);
    let options = Options::new(world.directory(), "cluster.local");
    std::fs::copy(
        world.options.path(),
        options.zone_path().with_extension("x"),
    )
    .unwrap();
    std::fs::rename(options.zone_path().with_extension("x"), options.zone_path()).unwrap();
    let (_, opened) = Writer::open(options).unwrap();
    assert!(
        matches!(opened, nss_k8s_zone::Opened::Replaced { .. }),
        "{opened:?}"
    );
}

#[test]
fn answers_end_a_tenth_early_and_within_a_day() {
    let left = |ttl| HeldWriter::end_of(NOW, ttl).map(|end| end.0 - NOW.0);
    assert_eq!([0, 1].map(left), [None, None]);
    let expected = [(2, 1), (5, 4), (10, 9), (30, 27), (300, 270)];
    for (ttl, kept) in expected {
        assert_eq!(left(ttl), Some(kept), "{ttl}");
    }
    assert_eq!(left(u32::MAX), Some(77_760));
}

/// A writer, and a process that reads what it writes.
struct World {
    options: HeldOptions,
    writer: HeldWriter,
    opened: HeldOpened,
    reader: Reader,
    path: CString,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HeldOptions)) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut options = HeldOptions::new(directory.path(), "default");
        change(&mut options);
        Self::open(directory, options, NOW)
    }

    fn open(directory: tempfile::TempDir, options: HeldOptions, now: Now) -> Self {
        let (writer, opened) = HeldWriter::open(&options, now).unwrap();
        let path = CString::new(writer.path().as_os_str().as_bytes()).unwrap();
        Self {
            options,
            writer,
            opened,
            reader: Reader::of_held(),
            path,
            directory,
        }
    }

    /// Another writer after this one.
    fn restarted(self, now: Now) -> Self {
        drop(self.writer);
        Self::open(self.directory, self.options, now)
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What is said of IPv4.
    fn read(&self, name: &str) -> Result<Found, Unavailable> {
        let mut room = [Address::UNSPECIFIED; 4];
        self.reader.read(&LibcOs, &self.path, NOW, |snapshot| {
            let mut canonical = Name::EMPTY;
            snapshot.held(
                name.as_bytes(),
                Families::V4,
                NOW,
                &mut room,
                &mut canonical,
            )
        })
    }

    /// The verdict, the addresses in an order of their own, and the canonical name.
    fn ask(&self, name: &str, families: Families, now: Now) -> (Found, Vec<Address>, String) {
        let mut room = [Address::UNSPECIFIED; 512];
        let mut canonical = Name::EMPTY;
        let found = self.reader.read(&LibcOs, &self.path, now, |snapshot| {
            snapshot.held(name.as_bytes(), families, now, &mut room, &mut canonical)
        });
        let found = found.unwrap_or_else(|why| panic!("{name}: {why:?}"));
        let count = match found {
            Found::Answer { count } => count,
            _ => 0,
        };
        let mut addresses = room[..count].to_vec();
        addresses.sort_unstable();
        let canonical = String::from_utf8(canonical.as_bytes().to_vec()).unwrap();
        (found, addresses, canonical)
    }
}

fn v4(number: u32) -> Address {
    Address::v4((0x0a00_0000 + number).to_be_bytes())
}

fn v6(last: u8) -> Address {
    Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

fn name(number: u32) -> String {
    format!("host-{number}.example.com")
}

fn data(addresses: &[Address]) -> Option<HeldVerdict> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    Some(HeldVerdict::Data {
        addresses,
        canonical: None,
    })
}

#[allow(clippy::unnecessary_wraps, reason = "beside `data` in tables")]
fn nxdomain() -> Option<HeldVerdict> {
    Some(HeldVerdict::NxDomain)
}

fn until(seconds: u64, verdict: HeldVerdict) -> HeldAnswer {
    HeldAnswer {
        expires: Some(Now(NOW.0 + seconds)),
        verdict,
    }
}

/// One IPv4 address.
fn held(seconds: u64, number: u32) -> Held {
    Held {
        v4: data(&[v4(number)]).map(|verdict| until(seconds, verdict)),
        v6: None,
    }
}
