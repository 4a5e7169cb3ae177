//! Measures held answers at 10,000 external names; `cargo run --release -p nss-k8s-zone --features
//! writer --example measure_held`. CPU time, the median of several rounds.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an ordinary std program"
)]

use nss_k8s_zone::{
    Address, Families, Found, Held, HeldAnswer, HeldOptions, HeldVerdict, HeldWriter, LibcOs, Name,
    Now, Reader,
};
use std::{
    error::Error,
    ffi::CString,
    hint::black_box,
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

const NAMES: u32 = 10_000;
const ROUNDS: u32 = 9;
const LOOKUPS: u32 = 1_000_000;
const NOW: Now = Now(1_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = format!("/dev/shm/nss-k8s-measure-held-{}", std::process::id());
    let result = measure(&directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &str) -> Result<(), Box<dyn Error>> {
    let (mut writer, _) = HeldWriter::open(&HeldOptions::new(directory, "default"), NOW)?;
    let mut clock = Instant::now();
    for (what, ttl) in [("put new", 60), ("put again", 61)] {
        let begin = cpu_time();
        for number in 0..NAMES {
            writer.put(&name(number), &held(number, ttl))?;
            clock += Duration::from_millis(1);
            writer.advance(clock);
        }
        let each = (cpu_time() - begin).as_secs_f64() / f64::from(NAMES);
        println!("{what:<25} {:>8.2} us", each * 1e6);
    }
    let figures = writer.statistics();
    println!("file                      {:>8} bytes", figures.bytes);
    println!(
        "  in use, for each name   {:>8.1} bytes",
        figures.used_bytes as f64 / f64::from(NAMES)
    );
    let path = CString::new(writer.path().as_os_str().as_bytes())?;
    let rows: [(&str, u32, Families); 3] = [
        ("warm, A and AAAA", NAMES, Families::BOTH),
        ("warm, A", NAMES, Families::V4),
        ("warm, one name", 1, Families::BOTH),
    ];
    for (what, names, families) in rows {
        println!("{what:<25} {:>8.1} ns", lookups(&path, 0, names, families)?);
    }
    let miss = lookups(&path, NAMES, NAMES, Families::BOTH)?;
    println!("not held                  {miss:>8.1} ns");
    Ok(())
}

/// Nanoseconds of one lookup among `names` names from number `first` on.
fn lookups(path: &CString, first: u32, names: u32, families: Families) -> Result<f64, String> {
    let reader = Reader::of_held();
    let keys: Vec<String> = (first..first + names).map(name).collect();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = cpu_time();
        for number in 0..LOOKUPS {
            // Not in the order in which they were put.
            let key = &keys[number.wrapping_mul(7_919) as usize % keys.len()];
            let mut room = [Address::UNSPECIFIED; 16];
            let mut canonical = Name::EMPTY;
            let found = reader.read(&LibcOs, path, NOW, |held| {
                held.held(key.as_bytes(), families, NOW, &mut room, &mut canonical)
            });
            let is_held = matches!(found, Ok(Found::Answer { .. }));
            if is_held != (first == 0) {
                return Err(format!("{key}: {found:?}"));
            }
            black_box((&room, &canonical));
        }
        rounds.push((cpu_time() - begin).as_secs_f64() * 1e9 / f64::from(LOOKUPS));
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[rounds.len() / 2])
}

fn name(number: u32) -> String {
    format!("host-{number}.region.example.com")
}

/// Two IPv4 addresses and, of every second name, one IPv6 address; of every third, a CNAME.
fn held(number: u32, ttl: u64) -> Held {
    let [_, a, b, c] = number.to_be_bytes();
    let canonical = number
        .is_multiple_of(3)
        .then(|| format!("edge-{number}.cdn.example.net"));
    let answer = |addresses| {
        Some(HeldAnswer {
            expires: Some(Now(NOW.0 + ttl)),
            verdict: HeldVerdict::Data {
                addresses,
                canonical: canonical.clone(),
            },
        })
    };
    let v6 = Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c]);
    Held {
        v4: answer(vec![Address::v4([10, a, b, c]), Address::v4([11, a, b, c])]),
        v6: answer(if number.is_multiple_of(2) {
            vec![v6]
        } else {
            Vec::new()
        }),
    }
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: room for one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}
