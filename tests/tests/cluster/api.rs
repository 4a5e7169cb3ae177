//! Requests to the API server, in JSON as it stands.

use anyhow::{Context, Result};
use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// A client with one identity; every call waits for its response.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client,
}

impl Api {
    /// A client after a kubeconfig file; nothing is sent yet.
    pub(crate) fn connect(kubeconfig: &Path) -> Result<Self> {
        Self::of(Kubeconfig::read_from(kubeconfig)?)
    }

    /// The same after a kubeconfig's contents.
    pub(crate) fn of(file: Kubeconfig) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    /// Whether the server says that it is ready.
    pub(crate) fn ready(&self) -> bool {
        self.text("GET", "/readyz", "", &Value::Null).is_ok()
    }

    /// One object or list.
    pub(crate) fn get(&self, path: &str) -> Result<Value, kube::Error> {
        self.json("GET", path, "", &Value::Null)
    }

    /// Creates an object in the collection at `path`; returns what the server made of it.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.try_create(path, object)
            .with_context(|| format!("create in {path}: {object}"))
    }

    /// The same with the server's refusal as a value.
    pub(crate) fn try_create(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        self.json("POST", path, "application/json", object)
    }

    /// A JSON merge patch (RFC 7396) of the object at `path`.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> Result<Value> {
        self.json("PATCH", path, "application/merge-patch+json", change)
            .with_context(|| format!("patch {path}: {change}"))
    }

    /// Deletes the object at `path` at once.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let options = serde_json::json!({"gracePeriodSeconds": 0});
        self.text("DELETE", path, "application/json", &options)
            .with_context(|| format!("delete {path}"))?;
        Ok(())
    }

    fn json(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let text = self.text(method, path, kind, body)?;
        serde_json::from_str(&text).map_err(kube::Error::SerdeError)
    }

    fn text(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<String, kube::Error> {
        let mut request = Request::builder().method(method).uri(path);
        let mut bytes = Vec::new();
        if !kind.is_empty() {
            request = request.header("content-type", kind);
            bytes = body.to_string().into_bytes();
        }
        self.send(request.body(bytes).map_err(kube::Error::HttpError)?)
    }

    /// The text of the answer to any request.
    pub(crate) fn send(&self, request: Request<Vec<u8>>) -> Result<String, kube::Error> {
        self.runtime.block_on(self.client.request_text(request))
    }
}

/// The HTTP status of a refusal by the server; none for other errors.
pub(crate) fn refusal(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
