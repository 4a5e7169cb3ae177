//! A bucket that is put back to an earlier state, so that sequence numbers stand for something else than before.

use super::*;

/// So many objects come and go with what is lost.
const LOST: usize = 60;

#[test]
fn a_bucket_from_a_backup_is_read_again() {
    restored(false);
}

/// The agent is away meanwhile, and goes on from what it has kept.
#[test]
fn a_bucket_from_a_backup_is_read_again_by_the_next_agent() {
    restored(true);
}

fn restored(away: bool) {
    let mut rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.nats.stop();
    rig.nats.back_up();
    rig.nats.run();
    rig.api.delete(SERVICES, "a");
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    for number in 0..LOST {
        let name = format!("lost{number}");
        rig.api.put(SERVICES, service(&name, "10.0.2.1"));
    }
    rig.wait_for(&format!("lost{}", LOST - 1), "10.0.2.1");
    rig.wait_for("a", "pass(ask-miss)");
    rig.wait_for("b", "10.0.0.2");
    let stays = match away {
        true => {
            agent.end(libc::SIGKILL);
            fs::remove_file(rig.place.path("log")).unwrap();
            None
        }
        false => Some(agent),
    };
    let known = rig.nats.last_sequence();

    // What is put back knows `a`, and neither `b` nor what is to be lost.
    rig.nats.stop();
    rig.nats.restore();
    for number in 0..LOST {
        rig.api.delete(SERVICES, &format!("lost{number}"));
    }
    rig.api.put(SERVICES, service("b", "10.0.0.3"));
    rig.nats.run();
    publisher.wait_for(&["the bucket has another history"]);
    wait("the publisher to have put the bucket right", || {
        rig.nats.with(async |bucket| {
            let key = "base.services.shop.b";
            let entry = bucket.entry(key).await.unwrap();
            entry.is_some_and(|entry| {
                assert!(
                    entry.revision <= known,
                    "it is to lie in the past of the agent"
                );
                true
            })
        })
    });
    // The bucket outgrows what the agent knows of it.
    let mut number = 0;
    while rig.nats.last_sequence() <= known {
        number += 1;
        let name = format!("new{number}");
        rig.api.put(SERVICES, service(&name, "10.0.3.1"));
    }
    let agent = stays.unwrap_or_else(|| {
        let next = rig.agent(&[]);
        next.wait_until_published();
        next
    });
    rig.wait_for("b", "10.0.0.3");
    rig.wait_for("a", "pass(ask-miss)");
    rig.wait_for("lost0", "pass(ask-miss)");
    rig.wait_for(&format!("new{number}"), "10.0.3.1");
    assert_eq!(agent.figure(FROM_BUCKET), 1.0);
    assert_eq!(agent.figure(REPLAYS), if away { 1.0 } else { 2.0 });
    assert_eq!(rig.asked(), 0, "the agent asked the API server");
}
