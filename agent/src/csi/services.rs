//! The three services that kubelet calls. They check what the interface wants checked, and leave the
//! work to [`Volumes`].

use super::{
    DRIVER,
    proto::{
        csi::{
            GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
            GetPluginInfoResponse, NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse,
            NodeGetInfoRequest, NodeGetInfoResponse, NodePublishVolumeRequest,
            NodePublishVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
            ProbeRequest, ProbeResponse,
            identity_server::{Identity, IdentityServer},
            node_server::{Node, NodeServer},
            volume_capability::AccessType,
        },
        registration::{
            InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
            registration_server::{self, RegistrationServer},
        },
    },
    volumes::{Failure, Volumes},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, async_trait};

/// The version of CSI that is spoken, as kubelet's own registrar writes it.
const CSI_VERSION: &str = "1.0.0";

/// Identity and Node.
#[derive(Clone)]
pub(super) struct Plugin {
    /// Never held across a wait: the process has one thread for calls.
    volumes: Arc<Mutex<Volumes>>,
    node: String,
}

impl Plugin {
    /// For the node of this name.
    pub(super) fn new(volumes: Arc<Mutex<Volumes>>, node: String) -> Self {
        Self { volumes, node }
    }

    /// As a service.
    pub(super) fn identity(&self) -> IdentityServer<Self> {
        IdentityServer::new(self.clone())
    }

    /// As a service.
    pub(super) fn node(&self) -> NodeServer<Self> {
        NodeServer::new(self.clone())
    }

    fn volumes(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Identity for Plugin {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: DRIVER.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: std::collections::HashMap::new(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(GetPluginCapabilitiesResponse {}))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(true) }))
    }
}

#[async_trait]
impl Node for Plugin {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let NodePublishVolumeRequest {
            volume_id,
            target_path,
            volume_capability,
            volume_context,
        } = &request;
        // In the order of the interface's table, so that what is missing is said first.
        let missing = match volume_capability {
            _ if volume_id.is_empty() => Some("the volume's id is missing"),
            _ if target_path.is_empty() => Some("the target path is missing"),
            None => Some("the volume's capability is missing"),
            Some(capability) => match capability.access_type {
                Some(AccessType::Mount(_)) => None,
                Some(AccessType::Block(_)) => Some("a volume of this driver is no block device"),
                None => Some("the volume's access type is missing"),
            },
        };
        if let Some(why) = missing {
            return Err(Status::invalid_argument(why));
        }
        let published = self
            .volumes()
            .publish(volume_id, target_path, volume_context);
        answer("publish", volume_id, published)?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request.volume_id.as_str();
        let unpublished = self.volumes().unpublish(id, &request.target_path);
        answer("unpublish", id, unpublished)?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        Ok(Response::new(NodeGetCapabilitiesResponse {}))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.node.clone(),
            max_volumes_per_node: 0,
        }))
    }
}

/// Logs what was done, and says it as gRPC does. Kubelet repeats a call that failed, whatever the code
/// is, and shows the message among the pod's events.
fn answer(what: &str, id: &str, result: Result<(), Failure>) -> Result<(), Status> {
    let Err(error) = result else {
        tracing::debug!(id, "{what}ed");
        return Ok(());
    };
    tracing::warn!(id, %error, "cannot {what} a volume");
    let text = error.to_string();
    Err(match error {
        Failure::Argument(_) => Status::invalid_argument(text),
        Failure::Taken(_) => Status::already_exists(text),
        Failure::System { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            Status::resource_exhausted(text)
        }
        Failure::System { .. } => Status::internal(text),
    })
}

/// How kubelet learns of the driver.
pub(super) struct Registration {
    endpoint: PathBuf,
    refused: mpsc::Sender<String>,
}

impl Registration {
    /// `endpoint` as kubelet sees it; `refused` is told when kubelet does not want the driver.
    pub(super) fn new(endpoint: PathBuf, refused: mpsc::Sender<String>) -> Self {
        Self { endpoint, refused }
    }

    /// As a service.
    pub(super) fn service(self) -> RegistrationServer<Self> {
        RegistrationServer::new(self)
    }
}

#[async_trait]
impl registration_server::Registration for Registration {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: DRIVER.to_owned(),
            endpoint: self.endpoint.to_string_lossy().into_owned(),
            supported_versions: vec![CSI_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!("kubelet has registered the driver");
        } else {
            // The first refusal is enough.
            let _ = self.refused.try_send(status.error);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
