//! One small HTTP server: `/healthz`, `/readyz`, `/metrics`.

use crate::telemetry::Telemetry;
use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// Binds the address; a port in use is an error that names it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening for /healthz /readyz /metrics");
    Ok(listener)
}

/// Serves until the process ends.
pub async fn run(listener: TcpListener, telemetry: Arc<Telemetry>) -> Result<()> {
    let routes = Router::new()
        // A task that dies ends the process: whoever can answer here is healthy.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(telemetry);
    axum::serve(listener, routes)
        .await
        .context("the HTTP server ended")
}

/// 200 once everything has been listed and published.
async fn ready(State(telemetry): State<Arc<Telemetry>>) -> Response {
    if telemetry.is_ready() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not everything has been listed yet\n",
        )
            .into_response()
    }
}

/// OpenMetrics text.
async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match telemetry.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
