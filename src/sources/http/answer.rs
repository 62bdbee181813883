//! Every answer that a sender can get.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its events are committed, or in quarantine.
    Stored,
    /// Its body was cut off, or is no HTTP.
    Broken,
    Unauthorized,
    /// The same, where a name and a password would do.
    UnauthorizedBasic,
    /// From an address that may not send.
    Forbidden,
    NoRoute,
    Method,
    Slow,
    TooLarge,
    TooMany,
    /// More requests wait than may.
    Full,
    /// The store takes no writes.
    Paused,
    /// It is not committed in time; it may be yet.
    Late,
    Stopping,
}

impl Answer {
    pub const ALL: [Answer; 14] = [
        Answer::Stored,
        Answer::Broken,
        Answer::Unauthorized,
        Answer::UnauthorizedBasic,
        Answer::Forbidden,
        Answer::NoRoute,
        Answer::Method,
        Answer::Slow,
        Answer::TooLarge,
        Answer::TooMany,
        Answer::Full,
        Answer::Paused,
        Answer::Late,
        Answer::Stopping,
    ];

    pub fn status(self) -> StatusCode {
        match self {
            Answer::Stored => StatusCode::OK,
            Answer::Broken => StatusCode::BAD_REQUEST,
            Answer::Unauthorized | Answer::UnauthorizedBasic => StatusCode::UNAUTHORIZED,
            Answer::Forbidden => StatusCode::FORBIDDEN,
            Answer::NoRoute => StatusCode::NOT_FOUND,
            Answer::Method => StatusCode::METHOD_NOT_ALLOWED,
            Answer::Slow => StatusCode::REQUEST_TIMEOUT,
            Answer::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Answer::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Answer::Full | Answer::Paused | Answer::Late | Answer::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Answer::Stored => "stored\n",
            Answer::Broken => "the body broke off\n",
            Answer::Unauthorized | Answer::UnauthorizedBasic => "wrong or missing credentials\n",
            Answer::Forbidden => "not from this address\n",
            Answer::NoRoute => "there is no such path\n",
            Answer::Method => "use POST or PUT\n",
            Answer::Slow => "the body came too slowly\n",
            Answer::TooLarge => "the body is too large\n",
            Answer::TooMany => "too many requests: send it again later\n",
            Answer::Full => "too many requests wait: send it again\n",
            Answer::Paused => "the database takes no writes: send it again\n",
            Answer::Late => "it could not be stored in time: send it again\n",
            Answer::Stopping => "stopping: send it again\n",
        }
    }

    /// Seconds after which the same request may fare better.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Answer::TooMany | Answer::Full => Some("1"),
            Answer::Paused | Answer::Late | Answer::Stopping => Some("5"),
            _ => None,
        }
    }

    pub fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_static(self.text().as_bytes())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        match self {
            Answer::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("POST, PUT"))),
            Answer::UnauthorizedBasic => {
                let challenge = HeaderValue::from_static("Basic realm=\"hydrant\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            // The next request of this sender belongs to another daemon, or to this one after its start.
            Answer::Stopping => drop(headers.insert(CONNECTION, HeaderValue::from_static("close"))),
            _ => {}
        }
        response
    }
}
