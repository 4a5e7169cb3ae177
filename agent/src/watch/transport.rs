//! Requests to the API server: a page of a list, or the lines of a watch.

use super::failure::{Failure, Kind};
use crate::report::one_line;
use core::time::Duration;
use futures::{AsyncBufReadExt, Stream, StreamExt, TryStreamExt};
use http::Response;
use http_body_util::{BodyExt, Limited};
use kube::{
    Client,
    api::{ListParams, WatchParams},
    client::Body,
    core::Request,
};
use std::io;

/// Objects in a page: what is held in memory of a list at once.
const PAGE: u32 = 500;

/// Selects one key, of namespaces or of what is in them, whatever stands under it: preferably nothing.
const ONE_KEY: [&str; 2] = [
    "metadata.name=nss-k8s-no-such-namespace",
    "metadata.namespace=default,metadata.name=nss-k8s-nothing",
];

/// Of an error's text.
const LONGEST_ERROR: usize = 64 * 1024;

/// What is listed and watched.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The resource's path.
    pub(super) path: &'static str,
    /// Only metadata is asked for.
    pub(super) only_metadata: bool,
    /// Labels of the objects.
    pub(super) selector: Option<String>,
}

impl Wanted {
    /// Asks for a page of a list; its text.
    pub(super) async fn page(
        &self,
        client: &Client,
        token: Option<String>,
    ) -> Result<Vec<u8>, Failure> {
        let params = ListParams {
            label_selector: self.selector.clone(),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let request = Request::new(self.path);
        let request = match self.only_metadata {
            true => request.list_metadata(&params),
            false => request.list(&params),
        };
        text(send(client, request, false).await?).await
    }

    /// Asks for the version of the server's storage: by a list of one key, which a server looks up as it is, and
    /// without a `resourceVersion`, so that it is not the version of a cache that lags.
    pub(super) async fn newest(&self, client: &Client) -> Result<Vec<u8>, Failure> {
        // Metadata is enough of namespaces alone.
        let selector = ONE_KEY[usize::from(!self.only_metadata)];
        let params = ListParams::default().fields(selector);
        let request = Request::new(self.path).list_metadata(&params);
        text(send(client, request, false).await?).await
    }

    /// Opens a watch that the server is to end after `due`; a list comes first if it is `streamed`.
    pub(super) async fn watch(
        &self,
        client: &Client,
        version: &str,
        streamed: bool,
        due: Duration,
    ) -> Result<impl Stream<Item = Result<String, Failure>> + use<>, Failure> {
        let params = WatchParams {
            label_selector: self.selector.clone(),
            timeout: u32::try_from(due.as_secs()).ok(),
            send_initial_events: streamed,
            ..WatchParams::default()
        };
        let request = Request::new(self.path);
        let request = match self.only_metadata {
            true => request.watch_metadata(&params, version),
            false => request.watch(&params, version),
        };
        let response = send(client, request, streamed).await?;
        let pieces = response.into_body().into_data_stream();
        let lines = pieces.map_err(io::Error::other).into_async_read().lines();
        Ok(lines.map(|line| {
            line.map_err(|error| {
                let cause = error.get_ref();
                let text = cause.map_or_else(|| error.to_string(), |cause| one_line(cause));
                Failure::new(Kind::Stream, text)
            })
        }))
    }
}

/// The text of an answer.
async fn text(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let text = response.into_body().collect().await;
    let text = text.map_err(|error| Failure::new(Kind::Stream, one_line(&error)))?;
    Ok(text.to_bytes().into())
}

/// Sends a request; a refusal is a failure.
async fn send(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    streamed: bool,
) -> Result<Response<Body>, Failure> {
    let request = request.map_err(|error| Failure::new(Kind::Nonsense, one_line(&error)))?;
    let response = client.send(request.map(Body::from)).await;
    let response = response.map_err(|error| Failure::unanswered(&error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let text = Limited::new(body, LONGEST_ERROR).collect().await;
    let text = text.map(|text| text.to_bytes()).unwrap_or_default();
    Err(Failure::refused(
        head.status,
        &head.headers,
        &text,
        streamed,
    ))
}
