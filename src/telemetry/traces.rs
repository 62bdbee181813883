//! Traces: Hydrant's own spans, sent to a collector by OTLP over HTTP. Where to and how many is said by the variables of the
//! standard (`OTEL_…`), which the SDK reads by itself.
//!
//! Nothing waits for the collector. A thread of the SDK's sends what there is every few seconds, and what is too much for it
//! is dropped.

use std::env;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SpanExporter, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::Layer;

use super::logs::{Taker, is_own_span};

/// Without one of these variables nothing is sent, though the standard has a default.
const ENDPOINTS: [&str; 2] = [
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_ENDPOINT,
];
/// How long a call to the collector may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// A collector that does not take spans is told of no more often.
const TOLD_EVERY: Duration = Duration::from_secs(600);
/// How long the end of the program waits for the last spans to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What takes spans; `None` where the environment names no collector.
///
/// # Errors
/// The collector's address is none.
pub fn layer() -> anyhow::Result<Option<Taker>> {
    let is_named = |name: &&&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let Some(named_by) = ENDPOINTS.iter().find(is_named) else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new()?)
        .build()
        .with_context(|| format!("traces cannot be sent as {named_by} says"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource())
        .build();
    let tracer = provider.tracer("hydrant");
    let _ = PROVIDER.set(provider);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    // No lines of log, and no spans of libraries: least of all those of sending spans.
    let own = FilterFn::new(is_own_span).with_max_level_hint(LevelFilter::INFO);
    Ok(Some(layer.with_filter(own).boxed()))
}

/// Sends what is not sent yet, for as long as the end may take. It needs the runtime, and is not called from within.
pub fn end() {
    if let Some(provider) = PROVIDER.get() {
        // What became of it the log says already.
        let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
    }
}

/// Whose spans they are: what the environment says, and `hydrant` where it does not.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let given = Resource::builder().with_attribute(version.clone()).build();
    let name = given.get(&"service.name".into());
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return given;
    }
    Resource::builder()
        .with_attribute(version)
        .with_service_name("hydrant")
        .build()
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The client of the collector.
#[derive(Debug)]
struct Collector {
    client: HttpsClient,
    // The thread that sends has no runtime of its own.
    runtime: Handle,
    told: Mutex<Option<Instant>>,
}

impl Collector {
    fn new() -> anyhow::Result<Collector> {
        let mut roots = RootCertStore::empty();
        // There may be none, and none is needed, where the collector is on this machine.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        Ok(Collector {
            client: Client::builder(TokioExecutor::new()).build((http, tls).into()),
            runtime: Handle::current(),
            told: Mutex::new(None),
        })
    }

    /// A line when spans are lost, but not for each time.
    fn tell(&self, error: &anyhow::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                error = %format_args!("{error:#}"),
                "the collector does not take traces: they are lost, and nothing else is"
            );
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async { tokio::time::timeout(CALL_TIMEOUT, send(client, request)).await? };
        let sent = self.runtime.spawn(sending).await.map_err(Into::into);
        sent.flatten().map_err(|error: anyhow::Error| {
            self.tell(&error);
            error.into()
        })
    }
}

/// An answer that is no success is an error.
async fn send(client: HttpsClient, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
    anyhow::ensure!(head.status.is_success(), "it answers with {}", head.status);
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    Ok(Response::from_parts(head, body))
}
