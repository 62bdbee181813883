//! What is asked of a request before it may come in, and how it is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use ipnet::IpNet;
use metrics::{counter, gauge, histogram};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::answer::Answer;
use super::body::{self, Limits};
use super::routes::{Found, Routes};
use super::sender;
use super::{Request, Room};
use crate::config::HttpListener;
use crate::pipeline::{Feed, Shared};
use crate::sources::Delivery;
use crate::telemetry;

/// What is not committed by then is answered: senders wait no longer.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(25);
/// When the store is paused, a request that is held already waits for the end of it so long: it may be short.
const PAUSE_PATIENCE: Duration = Duration::from_secs(3);
/// The status of a request whose sender went away before its answer, as other servers count it.
const GONE: &str = "499";

/// Lets in requests of one source.
#[derive(Debug)]
pub struct Door {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    routes: Routes,
    proxies: Vec<IpNet>,
    limits: Limits,
    /// Requests that may wait, and bytes of their bodies.
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    inbox: mpsc::Sender<Request>,
}

impl Door {
    /// The door and what it lets in.
    pub fn new(
        shared: &Arc<Shared>,
        feed: &Arc<Feed>,
        settings: &HttpListener,
    ) -> (Door, mpsc::Receiver<Request>) {
        let (inbox, requests) = mpsc::channel(settings.max_inflight_requests);
        let door = Door {
            shared: Arc::clone(shared),
            feed: Arc::clone(feed),
            routes: Routes::new(settings),
            proxies: settings.proxies.clone(),
            limits: Limits {
                bytes: settings.max_request_bytes,
                unpacked_bytes: feed.settings.max_body_bytes,
                time: Duration::from_secs(settings.body_timeout_secs),
            },
            requests: Arc::new(Semaphore::new(settings.max_inflight_requests)),
            bytes: Arc::new(Semaphore::new(settings.max_inflight_request_bytes)),
            inbox,
        };
        door.announce();
        (door, requests)
    }

    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Returns when nobody is left to write what would come in.
    pub async fn writers_ended(&self) {
        self.inbox.closed().await;
    }

    /// Answers a request from a connection with this other end.
    pub async fn answer(
        &self,
        peer: IpAddr,
        request: hyper::Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (head, mut body) = request.into_parts();
        let found = self.routes.find(head.uri.path());
        let route = found.as_ref().map_or("", |found| &found.route.name);
        let counted = Counted::new(&self.feed.name, route);
        let answer = match self.take_in(peer, &head, found, &mut body).await {
            Ok(()) => Answer::Stored,
            Err(answer) => {
                if !matches!(answer, Answer::Slow | Answer::Broken) {
                    body::discard(&head.headers, &mut body).await;
                }
                answer
            }
        };
        counted.answered(answer);
        answer.response()
    }

    /// Stores a request; returns after its COMMIT.
    async fn take_in(
        &self,
        peer: IpAddr,
        head: &Parts,
        found: Option<Found<'_>>,
        body: &mut Incoming,
    ) -> Result<(), Answer> {
        let found = found.ok_or(Answer::NoRoute)?;
        if !found.is_for(sender::address(peer, &head.headers, &self.proxies)) {
            self.note(&found, "not from one of the route's networks");
            return Err(Answer::Forbidden);
        }
        if head.method != Method::POST && head.method != Method::PUT {
            return Err(Answer::Method);
        }
        if !found.admits(&head.headers) {
            self.note(&found, "wrong or missing credentials");
            return Err(if found.asks_for_basic() {
                Answer::UnauthorizedBasic
            } else {
                Answer::Unauthorized
            });
        }
        if !found.is_within_rate() {
            return Err(Answer::TooMany);
        }
        self.expect_open()?;
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let request = request.map_err(|_| Answer::Full)?;
        let (bytes, taken) = body::read(body, self.limits, &self.bytes).await?;
        self.expect_open()?;
        let room = Room {
            _request: request,
            _bytes: taken,
        };
        self.hand_in(found.at, bytes, room).await
    }

    /// Logs one that may not come in: no line for each, there may be many, and they are counted.
    fn note(&self, found: &Found<'_>, why: &str) {
        let refused = found.note_intruder();
        if refused.is_power_of_two() {
            let (source, route) = (&self.feed.name, &found.route.name);
            tracing::warn!(source, route, refused, "{why}");
        }
    }

    fn expect_open(&self) -> Result<(), Answer> {
        if self.feed.stop.is_cancelled() {
            return Err(Answer::Stopping);
        }
        if self.shared.gate.pause().is_some() {
            return Err(Answer::Paused);
        }
        Ok(())
    }

    async fn hand_in(&self, format: usize, body: Vec<u8>, room: Room) -> Result<(), Answer> {
        let (answer, stored) = oneshot::channel();
        let delivery = Delivery {
            id: Uuid::new_v4().to_string(),
            body,
            format,
            place: None,
            attempt: 1,
        };
        let request = Request {
            delivery,
            answer,
            room,
        };
        self.inbox.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => Answer::Full,
            TrySendError::Closed(_) => Answer::Stopping,
        })?;
        tokio::select! {
            stored = stored => match stored {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(Answer::Stopping),
            },
            () = tokio::time::sleep(COMMIT_DEADLINE) => Err(Answer::Late),
            () = self.paused_for(PAUSE_PATIENCE) => Err(Answer::Paused),
        }
    }

    /// Returns when the store is paused, and so long after was so as well.
    async fn paused_for(&self, patience: Duration) {
        loop {
            self.shared.gate.wait_closed().await;
            tokio::time::sleep(patience).await;
            if self.shared.gate.pause().is_some() {
                return;
            }
        }
    }

    /// Shows every counter that an alarm may look at before its first request.
    fn announce(&self) {
        for route in self.routes.names() {
            for answer in Answer::ALL {
                let status = answer.status().as_str().to_owned();
                count(&self.feed.name, route, status, 0);
            }
        }
        gauge!(telemetry::HTTP_IN_FLIGHT, "source" => self.feed.name.clone()).set(0.0);
    }
}

fn count(source: &str, route: &str, status: String, by: u64) {
    let (source, route) = (source.to_owned(), route.to_owned());
    counter!(telemetry::HTTP_REQUESTS, "source" => source, "route" => route, "status" => status)
        .increment(by);
}

/// A request as metrics see it, until it is answered or its sender goes away.
struct Counted<'a> {
    source: &'a str,
    route: &'a str,
    since: Instant,
    answer: Option<Answer>,
}

impl<'a> Counted<'a> {
    fn new(source: &'a str, route: &'a str) -> Counted<'a> {
        gauge!(telemetry::HTTP_IN_FLIGHT, "source" => source.to_owned()).increment(1.0);
        Counted {
            source,
            route,
            since: Instant::now(),
            answer: None,
        }
    }

    fn answered(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let (source, route) = (self.source.to_owned(), self.route.to_owned());
        gauge!(telemetry::HTTP_IN_FLIGHT, "source" => source.clone()).decrement(1.0);
        let status = self.answer.map(Answer::status);
        let status = status.map_or(GONE.to_owned(), |status| status.as_str().to_owned());
        count(self.source, self.route, status, 1);
        histogram!(telemetry::HTTP_SECONDS, "source" => source, "route" => route)
            .record(self.since.elapsed());
    }
}
