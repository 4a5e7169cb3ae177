//! The process that writes the soak's zone, and is killed for it.

use super::{
    process::{Course, Orders, say},
    random::Random,
    soak_record::{ENDPOINTS, Part, SERVICES, endpoints, now, short},
};
use nss_k8s_zone::{
    Config, Endpoint, Family, MissPolicy, Opened, Options, ServiceBody, ServiceKey, Slice, SliceId,
    Writer,
};

/// The test below, for [`super::process::Process::spawn`].
pub(crate) const WRITER: &str = "soak_writer::writer_process";
/// Services that come and go beside those that are asked about: a new file must grow for them, and
/// its index move.
const CROWD: u64 = 400;

/// The writer's process: not a test, but started by them through this program.
#[test]
#[ignore = "the writer that the soak starts and kills"]
fn writer_process() {
    if let Some(orders) = Orders::received() {
        write_forever(&orders);
    }
}

/// Opens the zone and changes it as fast as it can.
fn write_forever(orders: &Orders) {
    // Room for little more than what is live: what is freed is soon overwritten.
    let options = Options {
        initial_bytes: 64 << 10,
        maximum_bytes: 16 << 20,
        ..Options::new(&orders.directory, "cluster.local")
    };
    let (mut writer, opened) = Writer::open(options).expect("the zone");
    let mut random = Random(orders.generation);
    let said = match opened {
        Opened::Created => {
            create(&mut writer, orders.generation);
            "created"
        }
        Opened::Adopted { .. } if random.once_in(5) => {
            leave_the_crowd(&mut writer);
            writer.replace().expect("a new inode");
            "replaced"
        }
        Opened::Adopted { .. } => "adopted",
        Opened::Replaced { why } => panic!("replaced: {why}"),
    };
    say(&format!("opened {said}"));
    let shape = writer.statistics();
    let mut course = Course::new(shape.bytes, (shape.main_lines, shape.ptr_lines));
    for update in 1.. {
        let generation = orders.generation + update;
        let service = update as u32 % SERVICES;
        if random.once_in(4) {
            put_cluster_ip(&mut writer, service, generation);
        } else {
            put_headless(&mut writer, service, generation);
        }
        move_the_crowd(&mut writer, update);
        if let Some(epoch) = course.epoch(update) {
            writer.advance(epoch);
            writer.beat(now());
        }
        let shape = writer.statistics();
        course.tell(shape.bytes, (shape.main_lines, shape.ptr_lines));
        if update == orders.updates {
            for service in 0..SERVICES {
                put_headless(&mut writer, service, generation + 1);
            }
            say("updated");
            return;
        }
    }
}

/// One service of the crowd comes, or goes when all of them have come.
fn move_the_crowd(writer: &mut Writer, update: u64) {
    let number = update % CROWD;
    let key = crowd_key(number);
    if (update / CROWD).is_multiple_of(2) {
        let body = ServiceBody::ClusterIp {
            addresses: vec![short(SERVICES, number)],
            ports: Vec::new(),
        };
        writer.put_service(&key, &body).expect("a service");
    } else {
        writer.delete_service(&key).expect("a service or none");
    }
}

/// Takes the crowd away, so that the next file starts small.
fn leave_the_crowd(writer: &mut Writer) {
    for number in 0..CROWD {
        writer
            .delete_service(&crowd_key(number))
            .expect("a service or none");
    }
}

/// A member of the crowd.
fn crowd_key(number: u64) -> ServiceKey {
    ServiceKey::new(&format!("x{number}"), "soak").expect("two labels")
}

/// Publishes every name once, then goes live.
fn create(writer: &mut Writer, generation: u64) {
    let config = Config {
        miss_policy: MissPolicy::NxDomain,
        endpoints_held: true,
        ..Config::default()
    };
    writer.configure(&config).expect("the configuration");
    writer.put_namespace("soak").expect("the namespace");
    for service in 0..SERVICES {
        let key = ServiceKey::new(&format!("h{service}"), "soak").expect("two labels");
        let body = ServiceBody::Headless { ports: Vec::new() };
        writer.put_service(&key, &body).expect("the service");
        put_headless(writer, service, generation);
        put_cluster_ip(writer, service, generation);
    }
    writer.beat(now());
    writer.set_synced(now());
}

/// Another generation of `h<service>`.
fn put_headless(writer: &mut Writer, service: u32, generation: u64) {
    let key = ServiceKey::new(&format!("h{service}"), "soak").expect("two labels");
    let endpoint = |place: u32| Endpoint {
        hostname: (place < *ENDPOINTS.start()).then(|| format!("e{place}")),
        ..Endpoint::ready(
            Part {
                service,
                generation,
                place: place as u16,
            }
            .address(),
        )
    };
    let slice = Slice {
        family: Family::V6,
        ports: Vec::new(),
        endpoints: (0..endpoints(generation)).map(endpoint).collect(),
    };
    writer.put_slice(&key, SliceId(1), &slice).expect("a slice");
}

/// Another generation of `c<service>`.
fn put_cluster_ip(writer: &mut Writer, service: u32, generation: u64) {
    let key = ServiceKey::new(&format!("c{service}"), "soak").expect("two labels");
    let part = Part {
        service,
        generation,
        place: 0,
    };
    let body = ServiceBody::ClusterIp {
        addresses: vec![short(service, generation), part.address()],
        ports: Vec::new(),
    };
    writer.put_service(&key, &body).expect("a service");
}
