//! The admin server: [`mod@ready`] is whether all is well, [`mod@status`] all that there is to tell, of which [`history`] keeps an hour
//! and [`look`] asks the database; [`page`] shows it to people.
//!
//! It has no password: nothing here tells a secret, or anything of an event.

mod history;
mod look;
mod page;
mod ready;
mod status;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::postgres::PgConnection;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::history::History;
use self::look::Database;
use crate::clock;
use crate::lookout::Lookout;
use crate::pipeline::{Feed, Shared};
use crate::store::Settings;
use crate::store::overview::Orphans;
use crate::telemetry;

/// What the endpoints look at.
pub struct Admin {
    metrics: PrometheusHandle,
    shared: Arc<Shared>,
    settings: Settings,
    /// In seconds since 1970.
    started: i64,
    /// The feeds, once they have started.
    feeds: Mutex<Vec<Arc<Feed>>>,
    /// A connection for probes alone.
    probe: tokio::sync::Mutex<Option<PgConnection>>,
    history: History,
    database: Lookout<Result<Database, String>>,
    orphans: Lookout<Result<Orphans, String>>,
}

impl Admin {
    pub fn new(metrics: PrometheusHandle, shared: Arc<Shared>, settings: Settings) -> Admin {
        Admin {
            metrics,
            shared,
            settings,
            started: clock::unix_seconds(),
            feeds: Mutex::default(),
            probe: tokio::sync::Mutex::default(),
            history: History::default(),
            database: Lookout::default(),
            orphans: Lookout::default(),
        }
    }

    /// Looks at these feeds from now on.
    pub fn watch(&self, feeds: &[Arc<Feed>]) {
        let mut known = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        *known = feeds.to_vec();
    }

    /// A line for each thing that is wrong, as `/readyz` says it.
    pub async fn troubles(&self) -> String {
        ready::judge(self).await.lines()
    }

    fn feeds(&self) -> Vec<Arc<Feed>> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.clone()
    }
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
        .route("/", get(page::page))
        .route("/status.json", get(status))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .layer(axum::middleware::map_response(guard))
        .with_state(Arc::clone(&admin));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        served = serving.into_future() => served,
        never = watching(&admin) => match never {},
    }
}

/// Keeps what the status page needs beside what the daemon has anyway.
async fn watching(admin: &Admin) -> Infallible {
    tokio::join!(
        history::keep(admin),
        look::keep_database(admin),
        look::keep_orphans(admin)
    )
    .0
}

/// What no answer is without: none is for keeping, and each is what it says that it is.
async fn guard<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn status(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let status = status::status(&admin).await;
    // Nothing in it can fail to be JSON: its keys are text.
    let text = serde_json::to_string(&status).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], text)
}

async fn render_metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    telemetry::count_dropped_lines();
    for feed in admin.feeds() {
        show_clocks(&admin, &feed);
    }
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        admin.metrics.render(),
    )
}

/// Brings the gauges of a source up to date that grow by themselves.
fn show_clocks(admin: &Admin, feed: &Feed) {
    let reading = feed.clocks.read(Instant::now());
    let source = || feed.name.clone();
    for (name, time) in [
        (telemetry::LAST_RECEIVE, reading.last_receive),
        (telemetry::LAST_COMMIT, reading.last_commit),
    ] {
        if let Some(time) = time {
            gauge!(name, "source" => source()).set(time as f64);
        }
    }
    let held = reading.oldest_in_flight.unwrap_or_default();
    gauge!(telemetry::OLDEST_IN_FLIGHT, "source" => source()).set(held.as_secs_f64());
    let age = feed.oldest_age().unwrap_or(0);
    gauge!(telemetry::OLDEST_WAITING, "source" => source()).set(age as f64);
    let is_well = ready::troubles_of(feed, &admin.shared.gate).is_empty();
    gauge!(telemetry::SOURCE_WELL, "source" => source()).set(f64::from(u8::from(is_well)));
}

/// 200 when the database answers and every source is well; else 503 with a line for each thing that is wrong.
async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let verdict = ready::judge(&admin).await;
    if verdict.state == ready::State::Well {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, verdict.lines())
}
