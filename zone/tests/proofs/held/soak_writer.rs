//! The process that writes the soak's held answers, and is killed for it.

use super::{
    super::{
        process::{Course, Orders, say},
        random::Random,
        soak_record::now,
    },
    asking::NAMES,
    race::numbered,
    run::options,
};
use nss_k8s_zone::{Held, HeldAnswer, HeldOpened, HeldOptions, HeldVerdict, HeldWriter, Now};
use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
};

/// The test below, for [`super::super::process::Process::spawn`].
pub(crate) const WRITER: &str = "held::soak_writer::writer_process";
/// Names that come and go beside those that are asked about: a new file must grow for them, and its
/// index move.
const CROWD: u64 = 1_000;
/// Where the state is, and the first of its values: nobody adopts a file that was never finished.
const STATE: u64 = 11 * 8;
/// See [`STATE`].
const INIT: u64 = 1;

/// The writer's process: not a test, but started by them through this program.
#[test]
#[ignore = "the writer that the soak starts and kills"]
fn writer_process() {
    if let Some(orders) = Orders::received() {
        write_forever(&orders);
    }
}

/// Opens the file and changes it as fast as it can.
fn write_forever(orders: &Orders) {
    // Fewer names than come: some must go before they expire.
    let options = options(&orders.directory, 700);
    let mut random = Random(orders.generation);
    if random.once_in(5) {
        spoil(&options);
    }
    let (mut writer, opened) = HeldWriter::open(&options, now()).expect("the file");
    let said = match opened {
        HeldOpened::Created => "created",
        HeldOpened::Adopted { .. } => "adopted",
        HeldOpened::Replaced { .. } => "replaced",
    };
    say(&format!("opened {said}"));
    let shape = writer.statistics();
    let mut course = Course::new(shape.bytes, shape.lines);
    for update in 1.. {
        let number = (orders.generation + update) as u32;
        let held = numbered(number, random.below(3) as usize + 1, now());
        let name = *random.pick(&NAMES);
        writer.put(name, &held).expect("room for a name");
        move_the_crowd(&mut writer, update);
        if let Some(epoch) = course.epoch(update) {
            writer.advance(epoch);
            writer.beat(now());
        }
        let shape = writer.statistics();
        course.tell(shape.bytes, shape.lines);
        if update == orders.updates {
            for name in NAMES {
                writer
                    .put(name, &numbered(number + 1, 3, now()))
                    .expect("room");
            }
            say("updated");
            return;
        }
    }
}

/// One name of the crowd comes, or goes when all of them have come.
fn move_the_crowd(writer: &mut HeldWriter, update: u64) {
    let name = format!("x{}.crowd.example", update % CROWD);
    if (update / CROWD).is_multiple_of(2) {
        let held = Held {
            v4: Some(HeldAnswer {
                expires: Some(Now(now().0 + 60)),
                verdict: HeldVerdict::NxDomain,
            }),
            v6: None,
        };
        writer.put(&name, &held).expect("room for a name");
    } else {
        writer.remove(&name);
    }
}

/// Makes the file one that was never finished, so that this writer has to put another in its place.
fn spoil(options: &HeldOptions) {
    let path = options.path();
    let writable = |mode| fs::set_permissions(&path, Permissions::from_mode(mode));
    writable(0o644).expect("our own file");
    let file = OpenOptions::new().write(true).open(&path);
    let written = file.and_then(|file| file.write_all_at(&INIT.to_le_bytes(), STATE));
    written.expect("our own file");
    writable(0o444).expect("our own file");
}
