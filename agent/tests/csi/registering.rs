//! What kubelet is told of the driver, and what follows from its answer.

use super::node::{Node, on_a_node};
use nss_k8s_agent::csi::proto::{
    csi::{
        GetPluginCapabilitiesRequest, GetPluginInfoRequest, NodeGetCapabilitiesRequest,
        NodeGetInfoRequest, ProbeRequest, identity_client::IdentityClient, node_client::NodeClient,
    },
    registration::{InfoRequest, RegistrationStatus, registration_client::RegistrationClient},
};
use std::{fs, process::Command};

#[test]
fn kubelet_learns_who_serves_where() {
    on_a_node(|node| {
        node.start();
        node.run(async {
            let mut client = RegistrationClient::new(Node::channel(&node.registration()).await);
            let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
            assert_eq!(
                (&*info.r#type, &*info.name),
                ("CSIPlugin", "csi.nss-k8s.io")
            );
            assert_eq!(info.endpoint, "/kubelet/csi.sock");
            assert_eq!(info.supported_versions, ["1.0.0"]);
            let status = RegistrationStatus {
                plugin_registered: true,
                error: String::new(),
            };
            client.notify_registration_status(status).await.unwrap();

            let channel = Node::channel(&node.endpoint()).await;
            let mut identity = IdentityClient::new(channel.clone());
            let info = identity
                .get_plugin_info(GetPluginInfoRequest {})
                .await
                .unwrap();
            assert_eq!(info.into_inner().name, "csi.nss-k8s.io");
            let probed = identity.probe(ProbeRequest {}).await.unwrap().into_inner();
            assert_eq!(probed.ready, Some(true));
            let asked = GetPluginCapabilitiesRequest {};
            identity.get_plugin_capabilities(asked).await.unwrap();
            let mut client = NodeClient::new(channel);
            let info = client
                .node_get_info(NodeGetInfoRequest {})
                .await
                .unwrap()
                .into_inner();
            assert_eq!((&*info.node_id, info.max_volumes_per_node), ("node-1", 0));
            let asked = NodeGetCapabilitiesRequest {};
            client.node_get_capabilities(asked).await.unwrap();
        });
        assert!(probe(node), "the probe fails while the driver serves");
        // Told to stop, it leaves no socket behind: kubelet forgets the driver.
        assert!(node.end(libc::SIGTERM).unwrap().success());
        assert!(!node.registration().exists() && !node.endpoint().exists());
        assert!(!probe(node), "the probe succeeds without a driver");
    });
}

fn probe(node: &Node) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nss-k8s"));
    command.args(["csi", "probe"]);
    command.arg(format!("--endpoint=unix:{}", node.endpoint().display()));
    command.output().unwrap().status.success()
}

#[test]
fn a_refused_driver_ends() {
    on_a_node(|node| {
        node.start();
        node.run(async {
            let mut client = RegistrationClient::new(Node::channel(&node.registration()).await);
            let status = RegistrationStatus {
                plugin_registered: false,
                error: "another driver has the name".to_owned(),
            };
            // The answer may be lost with the driver.
            let _ = client.notify_registration_status(status).await;
        });
        assert_eq!(node.wait_for_end().code(), Some(1));
    });
}

#[test]
fn an_unused_file_system_goes_when_that_is_wanted() {
    on_a_node(|node| {
        let before = node.all_mounts();
        node.arguments = vec!["--unmount-when-unused".to_owned()];
        node.start();
        let volume = node.volume("shop", "till", "nss-k8s");
        node.publish(&volume).unwrap();
        node.end(libc::SIGTERM);
        assert_eq!(node.all_mounts(), before + 2);
        node.start();
        node.unpublish(&volume).unwrap();
        node.end(libc::SIGTERM);
        assert_eq!(node.all_mounts(), before);
        assert_eq!(fs::read_dir(node.base()).unwrap().count(), 0);
    });
}
