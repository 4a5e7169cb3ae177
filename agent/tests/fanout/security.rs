//! Who may follow the bucket, and whom an agent believes.

use super::*;
use std::process::Command;

const USERS: &str = "authorization { users: [ { user: us, password: right } ] }";

#[test]
fn with_the_right_password_only() {
    let rig = Rig::new(USERS);
    fs::write(rig.place.path("right"), "us\nright\n").unwrap();
    fs::write(rig.place.path("wrong"), "us\nwrong\n").unwrap();
    let (right, wrong) = (rig.file("right"), rig.file("wrong"));
    let _publisher = rig.publisher("p", &["--nats-credentials", &right]);
    let agent = rig.agent(&["--nats-credentials", &right]);
    agent.wait_until_published();
    assert_eq!(rig.asked(), 0);
    agent.end(libc::SIGTERM);
    fs::remove_file(rig.place.path("log")).unwrap();
    let agent = rig.agent(&["--nats-credentials", &wrong]);
    rig.wait_for("own", "10.9.9.9");
    assert_eq!(agent.figure(FROM_API), 1.0);
    // A Secret that is put right counts without a restart.
    fs::copy(&right, &wrong).unwrap();
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    rig.wait_for("own", "pass(ask-miss)");
}

#[test]
fn with_a_key_of_its_own() {
    let pair = nkeys::KeyPair::new_user();
    let public = pair.public_key();
    let rig = Rig::new(&format!(
        "authorization {{ users: [ {{ nkey: {public} }} ] }}"
    ));
    fs::write(rig.place.path("seed"), pair.seed().unwrap()).unwrap();
    let seed = rig.file("seed");
    let _publisher = rig.publisher("p", &["--nats-credentials", &seed]);
    let agent = rig.agent(&["--nats-credentials", &seed]);
    agent.wait_until_published();
    assert_eq!(rig.asked(), 0);
}

#[test]
fn what_are_no_credentials_is_said_at_once() {
    let rig = Rig::new("");
    fs::write(rig.place.path("none"), "secret").unwrap();
    let none = rig.file("none");
    let agent = rig.agent(&["--nats-credentials", &none]);
    agent.wait_for(&["cannot use the credentials", "seed"]);
    assert!(!agent.log().contains("secret"));
    assert!(!agent.ended().success());
}

/// Makes an authority, and a certificate of it for the loopback address.
fn certificates(rig: &Rig) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(rig.place.path("."));
        let output = command.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"
    ));
    openssl(&format!(
        "req -x509 {key} -keyout no.key -out no.pem -days 2 -subj /CN=ca"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=nats"
    ));
    fs::write(rig.place.path("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial";
    openssl(&format!("{sign} -days 2 -extfile ext -out server.pem"));
}

#[test]
fn of_an_authority_that_vouches_for_the_server_only() {
    let mut rig = Rig::new("");
    certificates(&rig);
    let (cert, key) = (rig.file("server.pem"), rig.file("server.key"));
    let plain = Nats::start("");
    rig.nats = Nats::start(&format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}"));
    let (ca, other) = (rig.file("ca.pem"), rig.file("no.pem"));
    let _publisher = rig.publisher("p", &["--nats-ca", &ca]);
    let agent = rig.agent(&["--nats-ca", &ca]);
    agent.wait_until_published();
    assert_eq!(rig.asked(), 0);
    agent.end(libc::SIGTERM);
    // Another authority, and then a server that has no certificate at all: neither is believed.
    for (ca, server) in [(&other, None), (&ca, Some(plain.url()))] {
        fs::remove_file(rig.place.path("log")).unwrap();
        fs::remove_dir_all(rig.place.path("base")).unwrap();
        let url = server.unwrap_or_else(|| rig.nats.url());
        let agent = rig.agent(&["--nats-ca", ca, "--source", &url]);
        agent.wait_until_published();
        assert_eq!(agent.figure(FROM_API), 1.0);
        assert_eq!(rig.place.query("own"), "10.9.9.9");
        agent.end(libc::SIGTERM);
    }
}
