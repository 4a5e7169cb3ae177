//! Upstreams over UDP and TLS.

use crate::{
    Rig, assert_answer,
    server::{Action, DEADLINE, Over, Server, address},
    settings,
    upstreams::{FIRST, SECOND},
};
use hickory_proto::op::{Message, ResponseCode};
use nss_k8s_agent::forward::{Settings, Source, Transport, UpstreamSettings};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// One group with one upstream over something else.
fn over(transport: Transport, server: &Server) -> Settings {
    let mut settings = settings(&[server.address]);
    settings.groups[0].upstreams[0].transport = transport;
    settings
}

#[tokio::test]
async fn udp_questions_come_from_ports_of_their_own() {
    let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
    let server = Server::over(Over::Udp, script).await;
    let rig = Rig::with(over(Transport::Udp, &server));
    for number in 0..8 {
        let answer = rig.ask(&format!("{number}.example.")).await;
        assert_answer(&answer, Source::Upstream, "192.0.2.1");
    }
    assert!(server.ports() > 1);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let mut first = true;
    let script = move |query: &Message| {
        let mut answer = address(query, 60, SECOND);
        if std::mem::replace(&mut first, false) {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        Action::Answer(answer)
    };
    let server = Server::over(Over::Both, script).await;
    let rig = Rig::with(over(Transport::Udp, &server));
    let answer = rig.ask("www.example.").await;
    assert_answer(&answer, Source::Upstream, "192.0.2.2");
    assert!(!answer.to_message().unwrap().metadata.truncation);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn auto_takes_udp_where_tcp_is_refused() {
    let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
    let server = Server::over(Over::Udp, script).await;
    let rig = Rig::with(over(Transport::Auto, &server));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    let both = Server::over(Over::Both, script).await;
    let rig = Rig::with(over(Transport::Auto, &both));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    assert_eq!((both.connections(), both.ports()), (1, 0));
}

/// A file beside this one: certificates for `dns.example`, good until 2126, and nobody's secret.
fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/forward")
        .join(name)
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_is_spoken_with_the_named_server_only() {
    for (tls_name, pipeline, code) in [
        ("dns.example", false, ResponseCode::NoError),
        ("dns.example", true, ResponseCode::NoError),
        ("other.example", false, ResponseCode::ServFail),
    ] {
        let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
        let server = Server::tls(acceptor(), script).await;
        let mut settings = settings(&[]);
        settings.groups[0].upstreams = vec![UpstreamSettings {
            transport: Transport::Tls,
            tls_name: Some(tls_name.to_owned()),
            tls_ca: Some(file("ca.pem")),
            pipeline,
            ..UpstreamSettings::tcp(server.address)
        }];
        let rig = Rig::with(settings);
        for name in ["1.example.", "2.example."] {
            assert_eq!(rig.ask(name).await.code(), code, "{tls_name}");
        }
        let asked = usize::from(code == ResponseCode::NoError) * 2;
        assert_eq!(server.asked().len(), asked);
        if asked > 0 {
            assert_eq!(server.connections(), 1, "used again");
        }
    }
}

/// Authorities are replaced as a ConfigMap's files are: by another file under the same name.
#[tokio::test]
async fn authorities_are_read_again_when_their_file_changes() {
    for pipeline in [false, true] {
        let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
        let server = Server::tls(acceptor(), script).await;
        let directory = tempfile::tempdir().unwrap();
        let authorities = directory.path().join("ca.pem");
        let replace = |text: &[u8]| {
            let new = directory.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, &authorities).unwrap();
        };
        // No authority of this server: not even one of its own name.
        replace(b"nothing yet");
        let mut settings = settings(&[]);
        settings.groups[0].upstreams = vec![UpstreamSettings {
            transport: Transport::Tls,
            tls_name: Some("dns.example".to_owned()),
            tls_ca: Some(authorities.clone()),
            pipeline,
            ..UpstreamSettings::tcp(server.address)
        }];
        let rig = Rig::with(settings);
        assert_eq!(
            rig.ask("before.example.").await.code(),
            ResponseCode::ServFail
        );
        replace(&std::fs::read(file("ca.pem")).unwrap());
        let mut number = 0;
        let looking = async {
            loop {
                number += 1;
                let name = format!("{number}.example.");
                if rig.ask(&name).await.code() == ResponseCode::NoError {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, looking)
            .await
            .expect("trust in the new authorities");
        // A file that is no good takes nothing away.
        replace(b"broken");
        for number in 0..3 {
            let name = format!("after-{number}.example.");
            assert_eq!(rig.ask(&name).await.code(), ResponseCode::NoError);
        }
    }
}
