//! What an agent does about a bucket that it must not, or cannot, follow.

use super::*;

/// Replaces a value, as somebody who may would.
fn put(rig: &Rig, key: &'static str, change: impl FnOnce(&mut Vec<u8>)) {
    rig.nats.with(async |bucket| {
        let mut value = bucket.get(key).await.unwrap().unwrap().to_vec();
        change(&mut value);
        bucket.put(key, value.into()).await.unwrap();
    });
}

#[test]
fn without_a_bucket_the_api_server_is_watched_and_later_left() {
    let rig = Rig::new("");
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("own"), "10.9.9.9", "of its own server");
    assert_eq!(agent.figure(FROM_API), 1.0);
    let _publisher = rig.publisher("p", &[]);
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    // The change is a list: what the bucket does not name goes, the rest never does.
    rig.wait_for("own", "pass(ask-miss)");
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    wait("its watches to end", || rig.own.script().watches() == 0);
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.wait_for("a", "10.0.0.9");
}

#[test]
fn a_publisher_that_dies_is_replaced_by_the_api_server() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    publisher.end(libc::SIGKILL);
    rig.own.put(SERVICES, service("a", "10.0.0.7"));
    rig.wait_for("a", "10.0.0.7");
    assert_eq!(agent.figure(FROM_API), 1.0);
    assert_eq!(agent.figure("nss_k8s_fanout_fallbacks_total"), 1.0);
    // What it kept of the bucket is older than what it knows now.
    assert!(!rig.place.path("base/private/fanout").exists());
    let _publisher = rig.publisher("q", &[]);
    rig.wait_for("a", "10.0.0.1");
    assert_eq!(agent.figure(FROM_BUCKET), 1.0);
    assert!(!rig.place.path("base/private/watch").exists());
}

#[test]
fn nats_that_stays_away_is_replaced_by_the_api_server() {
    let mut rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.nats.stop();
    rig.own.put(SERVICES, service("a", "10.0.0.7"));
    rig.wait_for("a", "10.0.0.7");
    rig.nats.run();
    publisher.wait_for_figure("nss_k8s_fanout_leading", 1.0);
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    rig.wait_for("a", "10.0.0.1");
}

#[test]
fn a_publisher_that_learns_nothing_is_left_until_it_does() {
    let mut rig = Rig::new("");
    let config = CONFIG.replace("patience: 8s", "patience: 1s");
    fs::write(rig.place.path("config"), config).unwrap();
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    // It goes on to say that it is there.
    rig.api.stop();
    rig.own.put(SERVICES, service("a", "10.0.0.7"));
    rig.wait_for("a", "10.0.0.7");
    assert_eq!(agent.figure(FROM_API), 1.0);
    agent.wait_for(&["its publisher does not reach the API server"]);
    rig.api.run();
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    rig.wait_for("a", "10.0.0.1");
}

#[test]
fn a_service_may_be_published_before_its_namespace() {
    let mut rig = Rig::new("");
    let namespace = rig.api.script().take(NAMESPACES, "shop").unwrap();
    let publisher = rig.publisher("p", &[]);
    rig.api.put(NAMESPACES, namespace);
    publisher.wait_for_figure("nss_k8s_fanout_published_total", 5.0);
    // What is there when it says that all is published, and not a moment later.
    for _ in 0..4 {
        let agent = rig.agent(&[]);
        agent.wait_until_published();
        assert_eq!(rig.place.query("a"), "10.0.0.1");
        assert_eq!(agent.figure(FROM_BUCKET), 1.0);
        rig.new_place();
    }
}

#[test]
fn who_wants_more_than_is_published_watches_itself() {
    let rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&["--endpoint-slices=all"]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("own"), "10.9.9.9", "of its own server");
    agent.wait_for(&["proxy-slices are not published"]);
}

#[test]
fn other_labels_are_another_selection() {
    let rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let config = format!("{CONFIG}kubernetes: {{labels: '!hidden'}}\n");
    fs::write(rig.place.path("labels"), config).unwrap();
    let labels = rig.file("labels");
    let kubeconfig = rig.place.path("agent.kubeconfig");
    let url = rig.nats.url();
    let options = ["--config", &labels, "--source", &url];
    let agent = rig.place.watcher(&kubeconfig, &options);
    agent.wait_until_published();
    assert_eq!(rig.place.query("own"), "10.9.9.9", "of its own server");
    agent.wait_for(&["services are published by another selector"]);
}

#[test]
fn a_bucket_of_another_format_is_not_followed() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    publisher.end(libc::SIGKILL);
    put(&rig, "base.state", |value| {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replace("\"format\":1", "\"format\":2").into_bytes();
    });
    rig.wait_for("own", "10.9.9.9");
    agent.wait_for(&["its format is 2"]);
    // A publisher of our format makes it ours again.
    let _publisher = rig.publisher("q", &[]);
    rig.wait_for("own", "pass(ask-miss)");
}

#[test]
fn a_damaged_record_changes_nothing_but_itself() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    put(&rig, "base.services.shop.a", |value| {
        *value.last_mut().unwrap() ^= 1;
    });
    // Another object's record under its key.
    rig.nats.with(async |bucket| {
        let db = bucket.get("base.services.shop.db").await.unwrap().unwrap();
        bucket.put("base.services.shop.other", db).await.unwrap();
        bucket
            .put("base.services.shop.junk", "junk".into())
            .await
            .unwrap();
        bucket.put("elsewhere", "junk".into()).await.unwrap();
    });
    agent.wait_for_figure("nss_k8s_fanout_corrupt_records_total", 3.0);
    assert_eq!(rig.place.query("a"), "10.0.0.1", "as it was");
    assert_eq!(rig.place.query("other"), "pass(ask-miss)");
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    rig.wait_for("b", "10.0.0.2");
    // The next publisher puts it right.
    publisher.end(libc::SIGTERM);
    let _publisher = rig.publisher("q", &[]);
    rig.api.put(SERVICES, service("c", "10.0.0.3"));
    rig.wait_for("c", "10.0.0.3");
    agent.end(libc::SIGKILL);
    fs::remove_dir_all(rig.place.path("base/private/fanout")).unwrap();
    fs::remove_file(rig.place.path("log")).unwrap();
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    assert_eq!(agent.figure("nss_k8s_fanout_corrupt_records_total"), 0.0);
}

/// That an object is gone may have been purged while the agent was away.
#[test]
fn who_was_away_for_too_long_reads_all_of_it() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    agent.end(libc::SIGKILL);
    publisher.end(libc::SIGKILL);
    fs::remove_file(rig.place.path("log")).unwrap();
    rig.nats.with(async |bucket| {
        let purge = bucket.stream.purge();
        let subject = "$KV.nss-k8s.base.services.shop.a";
        assert_eq!(purge.filter(subject).await.unwrap().purged, 1);
    });
    put(&rig, "base.state", |value| {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replace("\"floor\":0", "\"floor\":1000").into_bytes();
    });
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!((agent.figure(REPLAYS), agent.figure(RESUMES)), (1.0, 0.0));
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
}

/// The publisher says that it does not follow the API server; nobody runs to it.
#[test]
fn while_the_api_server_is_away_agents_stay() {
    let mut rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.api.stop();
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    let synced = "nss_k8s_zone_sync_age_seconds";
    wait("the age of the zone to grow", || {
        agent.figure(synced) >= 3.0
    });
    assert_eq!(rig.asked(), 0);
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    rig.api.run();
    wait("the zone to be in step", || agent.figure(synced) <= 1.0);
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.wait_for("a", "10.0.0.9");
    assert_eq!(rig.asked(), 0);
}
