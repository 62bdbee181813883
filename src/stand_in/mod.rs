//! A stand-in for Amazon SQS: a small local endpoint which the real AWS SDKs talk to over real HTTP.
//!
//! Tests, the demo and the benchmarks run against it. It speaks the AWS JSON 1.0 protocol and does what a
//! standard queue does: visibility timeouts, redelivery, long polls, receipt handles that wear out, redrive to
//! a dead-letter queue, batches of which some entries fail.
//!
//! It is not SQS. Nothing is persisted, nobody is authenticated, counts are exact, attributes apply at once,
//! and a message is never delivered twice without need. First-in-first-out queues and message attributes are
//! refused; policies, encryption and the tags of a new queue are accepted and mean nothing.

mod account;
mod attributes;
pub mod client;
mod messages;
mod protocol;
mod queue;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod refusal_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sdk_tests;

use account::Account;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use protocol::{CONTENT_TYPE, Code, Refusal, read, write};
use serde::Serialize;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Ten messages of 1 MiB, each byte escaped as `\u00xx`: a batch that is too long gets the answer SQS would give.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Room for the answers that hold no message bodies.
const SMALL_RESPONSE_BYTES: usize = 1024;

/// A stand-in on a free port of the loopback interface. It stops when it is dropped.
pub struct StandIn {
    /// The `endpoint_url` for a client, such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    stop: DropGuard,
    server: JoinHandle<io::Result<()>>,
}

impl StandIn {
    /// Starts a stand-in without queues.
    pub async fn start() -> io::Result<StandIn> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, stop.clone()));
        Ok(StandIn {
            endpoint,
            stop: stop.drop_guard(),
            server,
        })
    }

    /// The URL of the queue with this name, whether or not the queue exists.
    pub fn queue_url(&self, name: &str) -> String {
        account::queue_url(&self.endpoint, name)
    }

    /// Stops, and waits until every request is answered; long polls are answered at once.
    pub async fn stop(self) -> io::Result<()> {
        drop(self.stop);
        self.server.await?
    }
}

/// Serves a stand-in without queues until `stop` is cancelled, then answers the requests it holds.
pub async fn serve(listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let account = Arc::new(Account::new(stop.clone()));
    let app = Router::new()
        // Any path will do: older clients post to the queue's URL, newer ones to the root.
        .fallback(answer)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(account);
    // Small answers must not wait for the acknowledgement of the one before. Where it fails, they do.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn answer(State(account): State<Arc<Account>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let operation = text("x-amz-target").trim_start_matches("AmazonSQS.");
    // The client's own name for this endpoint, so that queue URLs work for it too from inside a container.
    let base_url = format!("http://{}", text(header::HOST.as_str()));
    let request_id = Uuid::new_v4().to_string();
    let general = [
        (header::CONTENT_TYPE.as_str(), CONTENT_TYPE),
        ("x-amzn-requestid", &request_id),
    ];
    match perform(&account, operation, &base_url, &body).await {
        Ok(body) => (general, body).into_response(),
        Err(refusal) => {
            let (shape, code) = refusal.code.names();
            let legacy = [("x-amzn-query-error", format!("{code};Sender"))];
            let body = serde_json::json!({ "__type": shape, "message": refusal.message });
            (StatusCode::BAD_REQUEST, general, legacy, body.to_string()).into_response()
        }
    }
}

async fn perform(
    account: &Account,
    operation: &str,
    base_url: &str,
    body: &[u8],
) -> Result<Vec<u8>, Refusal> {
    match operation {
        "CreateQueue" => small(account.create_queue(read(body)?, base_url)),
        "GetQueueUrl" => small(account.get_queue_url(read(body)?, base_url)),
        "ListQueues" => small(Ok(account.list_queues(read(body)?, base_url))),
        "DeleteQueue" => nothing(account.delete_queue(&read(body)?)),
        "PurgeQueue" => nothing(account.purge_queue(&read(body)?)),
        "GetQueueAttributes" => small(account.queue_attributes(&read(body)?)),
        "SetQueueAttributes" => nothing(account.set_queue_attributes(&read(body)?)),
        "SendMessage" => small(messages::send_message(account, body)),
        "SendMessageBatch" => small(messages::send_message_batch(account, body)),
        "ReceiveMessage" => messages::receive_message(account, body).await,
        "DeleteMessage" => nothing(messages::delete_message(account, body)),
        "DeleteMessageBatch" => small(messages::delete_message_batch(account, body)),
        "ChangeMessageVisibility" => nothing(messages::change_message_visibility(account, body)),
        "ChangeMessageVisibilityBatch" => {
            small(messages::change_message_visibility_batch(account, body))
        }
        _ => {
            let message = format!("this stand-in has no operation \"{operation}\"");
            Err(Refusal::new(Code::UnknownOperation, message))
        }
    }
}

fn small<T: Serialize>(result: Result<T, Refusal>) -> Result<Vec<u8>, Refusal> {
    write(&result?, SMALL_RESPONSE_BYTES)
}

/// The answer to an operation that returns nothing.
fn nothing(result: Result<(), Refusal>) -> Result<Vec<u8>, Refusal> {
    result.map(|()| b"{}".to_vec())
}
