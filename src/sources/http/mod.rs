//! Requests that others push to us. [`listener`] takes connections and speaks TLS ([`tls`]), [`door`] decides over each
//! request ([`routes`], [`sender`], [`rate`], [`body`], [`answer`]) and hands what may come in to the writers, which answer after COMMIT.

pub mod answer;
mod body;
pub mod door;
pub mod listener;
mod rate;
mod routes;
mod sender;
pub mod tls;

use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};

use super::Delivery;

/// A request that may come in, on its way to a writer.
#[derive(Debug)]
pub struct Request {
    pub delivery: Delivery,
    /// Takes whether it is stored.
    pub answer: oneshot::Sender<bool>,
    pub room: Room,
}

/// What a request takes up until it is stored, even where its sender has gone away.
#[derive(Debug)]
pub struct Room {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Where writers find requests: one of them takes some at a time.
pub type Inbox = Mutex<mpsc::Receiver<Request>>;
