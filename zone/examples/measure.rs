//! Measures the zone at 10,000 services of 15 endpoints; `cargo run --release -p nss-k8s-zone
//! --features writer --example measure`. CPU time, medians of several rounds.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an ordinary std program"
)]

use nss_k8s_zone::{
    Address, Config, Dump, Endpoint, Families, Family, Found, LibcOs, MissPolicy, Name, Now,
    Options, Port, Protocol, Reader, ServiceBody, ServiceKey, Slice, SliceId, Writer,
};
use std::{
    error::Error,
    ffi::CString,
    hint::black_box,
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 15;
const NAMESPACES: u32 = 100;
const NOW: Now = Now(1_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let directory =
        std::path::Path::new("/dev/shm").join(format!("nss-k8s-measure-{}", std::process::id()));
    let result = measure(&directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let (mut writer, _) = Writer::open(Options::new(directory, "cluster.local"))?;
    writer.configure(&Config {
        miss_policy: MissPolicy::NxDomain,
        ..Config::default()
    })?;
    let begin = CpuTime::now();
    for number in 0..NAMESPACES {
        writer.put_namespace(&format!("namespace-{number}"))?;
    }
    for number in 0..SERVICES {
        // Nine in ten have an address of their own, as in most clusters.
        let body = if number % 10 == 0 {
            ServiceBody::Headless {
                ports: vec![port()],
            }
        } else {
            ServiceBody::ClusterIp {
                addresses: vec![own(number)],
                ports: vec![port()],
            }
        };
        writer.put_service(&key(number)?, &body)?;
        writer.put_slice(&key(number)?, SliceId(0), &slice(number, 0))?;
        writer.advance(Instant::now());
    }
    writer.beat(NOW);
    writer.set_synced(NOW);
    println!(
        "published in              {:>8.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let figures = writer.statistics();
    println!(
        "file                      {:>8.2} MB",
        figures.bytes as f64 / 1e6
    );
    println!(
        "  in use                  {:>8.2} MB",
        figures.used_bytes as f64 / 1e6
    );
    println!(
        "  index of addresses      {:>8.2} MB",
        figures.ptr_lines as f64 * 64.0 / 1e6
    );

    let path = CString::new(writer.path().as_os_str().as_bytes())?;
    let reader = Reader::new();
    let mut room = [Address::UNSPECIFIED; 64];
    let mut canonical = Name::EMPTY;
    let mut ask = |name: &[u8]| {
        reader
            .read(&LibcOs, &path, NOW, |zone| {
                zone.addresses(name, Families::BOTH, &mut room, &mut canonical)
            })
            .unwrap_or(Found::Outside)
    };
    let hot = name(1)?;
    let headless = name(10)?;
    let miss = format!("www.example.com.{}.svc.cluster.local", "namespace-1").into_bytes();
    let absent = format!("{}.absent.svc.cluster.local", "www").into_bytes();
    println!("hot hit, one address      {:>8.1} ns", each(|_| ask(&hot)));
    println!(
        "hot hit, 15 addresses     {:>8.1} ns",
        each(|_| ask(&headless))
    );
    println!("search-list miss          {:>8.1} ns", each(|_| ask(&miss)));
    println!(
        "absent namespace          {:>8.1} ns",
        each(|_| ask(&absent))
    );
    let all: Vec<Vec<u8>> = (0..SERVICES).map(name).collect::<Result<_, _>>()?;
    let mut at = 0_usize;
    println!(
        "all names at random       {:>8.1} ns",
        each(|round| {
            at = (at * 7 + round as usize * 2_654_435_761 + 1) % all.len();
            ask(&all[at])
        })
    );
    let before = writer.statistics();
    let begin = CpuTime::now();
    let rounds = 200_000;
    let slices: Vec<(ServiceKey, Slice)> = (0..1000)
        .flat_map(|number| [0, 1].map(|version| (number, version)))
        .map(|(number, version)| Ok((key(number * 7)?, slice(number * 7, version + 1))))
        .collect::<Result<_, Box<dyn Error>>>()?;
    for round in 0..rounds {
        let (key, slice) = &slices[round % slices.len()];
        writer.put_slice(key, SliceId(0), slice)?;
        if round % 100 == 0 {
            writer.advance(Instant::now());
        }
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / rounds as f64;
    println!("a changed slice           {each:>8.2} us");
    println!(
        "  serial moved by         {:>8}",
        writer.statistics().serial - before.serial
    );
    let begin = CpuTime::now();
    drop(writer);
    let (writer, opened) = Writer::open(Options::new(directory, "cluster.local"))?;
    println!(
        "adopted in                {:>8.1} ms: {opened:?}",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let begin = CpuTime::now();
    let dump = Dump::open(writer.path())?;
    let entries = dump.entries().len();
    println!(
        "dumped in                 {:>8.1} ms: {entries} entries",
        begin.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// This thread's time on a CPU: machines are seldom idle.
struct CpuTime(Duration);

impl CpuTime {
    fn now() -> Self {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: room for one `timespec`.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Self(Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        ))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

/// The median of some rounds, in nanoseconds per call.
fn each(mut call: impl FnMut(u32) -> Found) -> f64 {
    const CALLS: u32 = 100_000;
    let mut rounds: Vec<f64> = (0..15)
        .map(|_| {
            let begin = CpuTime::now();
            for number in 0..CALLS {
                black_box(call(black_box(number)));
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn key(number: u32) -> Result<ServiceKey, Box<dyn Error>> {
    let namespace = format!("namespace-{}", number % NAMESPACES);
    Ok(ServiceKey::new(&format!("service-{number}"), &namespace)?)
}

fn name(number: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(format!("{}.svc.cluster.local", key(number)?).into_bytes())
}

fn own(number: u32) -> Address {
    let [_, _, high, low] = number.to_be_bytes();
    Address::v4([10, 96, high, low])
}

fn port() -> Port {
    Port {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    }
}

/// One endpoint differs between versions.
fn slice(number: u32, version: u32) -> Slice {
    let endpoints = (0..ENDPOINTS).map(|endpoint| {
        let moved = if endpoint == 0 {
            version * SERVICES * ENDPOINTS
        } else {
            0
        };
        let [_, high, middle, low] = (number * ENDPOINTS + endpoint + moved).to_be_bytes();
        Endpoint {
            topology_zone: Some("zone-a".to_owned()),
            ..Endpoint::ready(Address::v4([10, high, middle, low]))
        }
    });
    Slice {
        family: Family::V4,
        ports: vec![port()],
        endpoints: endpoints.collect(),
    }
}
