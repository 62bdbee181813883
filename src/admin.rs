//! The admin server: /healthz, /readyz, /metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::postgres::PgConnection;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Feed, Shared};
use crate::store::Settings;
use crate::store::fault::Fault;

/// Longest wait for the database's answer to `/readyz`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the endpoints look at.
pub struct Admin {
    pub metrics: PrometheusHandle,
    pub shared: Arc<Shared>,
    pub settings: Settings,
    /// The feeds, once they have started.
    pub feeds: Mutex<Vec<Arc<Feed>>>,
    /// A connection for probes alone.
    pub probe: tokio::sync::Mutex<Option<PgConnection>>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .with_state(admin);
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn render_metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        admin.metrics.render(),
    )
}

/// 200 when the database and every queue answer; else 503 with a line for each thing that is wrong.
async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let troubles = admin.troubles().await;
    if troubles.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n")
}

impl Admin {
    async fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.shared.stop.is_cancelled() {
            troubles.push("stopping".to_owned());
        }
        if let Some(pause) = self.shared.gate.pause() {
            troubles.push(format!("paused: {}", pause.as_str()));
        } else if let Err(trouble) = self.ask_database().await {
            troubles.push(format!("database: {trouble}"));
        }
        let feeds = self
            .feeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if feeds.is_empty() {
            troubles.push("starting".to_owned());
        }
        for feed in feeds {
            if feed.is_mostly_bad() {
                troubles.push(format!("source {}: paused: mass_bad_input", feed.name()));
            }
            if let Some(trouble) = feed
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
            {
                troubles.push(format!("source {}: {trouble}", feed.name()));
            }
        }
        troubles
    }

    async fn ask_database(&self) -> Result<(), String> {
        let mut probe = self.probe.lock().await;
        let answer = async {
            let connection = match probe.take() {
                Some(connection) => connection,
                None => self
                    .settings
                    .connect()
                    .await
                    .map_err(|fault| fault.to_string())?,
            };
            let connection = probe.insert(connection);
            let read_only: bool =
                sqlx::query_scalar("select current_setting('transaction_read_only') = 'on'")
                    .fetch_one(connection)
                    .await
                    .map_err(|error| Fault::new(error, "no answer").to_string())?;
            if read_only {
                Err("read-only".to_owned())
            } else {
                Ok(())
            }
        };
        let outcome = tokio::time::timeout(PROBE_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err("no answer in 2 s".to_owned()));
        if outcome.is_err() {
            *probe = None;
        }
        outcome
    }
}
