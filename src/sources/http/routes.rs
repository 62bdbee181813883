//! Which route a path is, and whether a request may use it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::rate::Rate;
use super::sender::is_in;
use crate::config::{self, Auth, HttpListener, is_same};

/// The routes of one listener, in the order of the feed's formats.
#[derive(Debug)]
pub struct Routes(Vec<Route>);

#[derive(Debug)]
pub struct Route {
    pub name: String,
    settings: config::Route,
    rate: Option<Rate>,
    intruders: AtomicU64,
}

/// A route that a path leads to.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its position.
    pub at: usize,
    pub route: &'a Route,
    /// What follows its path, where a secret should.
    segment: Option<&'a str>,
}

impl Routes {
    pub fn new(listener: &HttpListener) -> Routes {
        let now = Instant::now();
        let routes = listener.routes.iter().map(|(name, settings)| Route {
            name: name.clone(),
            settings: settings.clone(),
            rate: settings.requests_per_second.map(|n| Rate::new(n, now)),
            intruders: AtomicU64::new(0),
        });
        Routes(routes.collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|route| route.name.as_str())
    }

    /// Finds the route of a path. A slash at its end does not matter.
    pub fn find<'a>(&'a self, path: &'a str) -> Option<Found<'a>> {
        let path = path.trim_end_matches('/');
        let whole = |(at, route): (usize, &'a Route)| {
            (route.settings.path == path).then_some(Found {
                at,
                route,
                segment: None,
            })
        };
        let (above, last) = path.rsplit_once('/')?;
        let before_a_secret = |(at, route): (usize, &'a Route)| {
            let takes_one = matches!(route.settings.auth, Auth::Path { .. });
            (takes_one && route.settings.path == above).then_some(Found {
                at,
                route,
                segment: Some(last),
            })
        };
        let routes = || self.0.iter().enumerate();
        let found = routes().find_map(whole);
        found.or_else(|| routes().find_map(before_a_secret))
    }
}

impl Found<'_> {
    /// Whether the request shows a secret of the route.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        match &self.route.settings.auth {
            Auth::None => true,
            Auth::Path { secrets } => self.segment.is_some_and(|it| secrets.have(it.as_bytes())),
            Auth::Header { name, secrets } => headers
                .get(name)
                .is_some_and(|value| secrets.have(without_scheme(name, value.as_bytes()))),
            Auth::Basic { username, secrets } => {
                let Some((user, password)) = basic(headers) else {
                    return false;
                };
                let is_user: bool = is_same(username.as_bytes(), &user).into();
                // Both are compared, whatever comes of the first.
                is_user & secrets.have(&password)
            }
        }
    }

    /// Whether who sends from there may send at all.
    pub fn is_for(&self, sender: Option<IpAddr>) -> bool {
        let networks = &self.route.settings.networks;
        networks.is_empty() || sender.is_some_and(|sender| is_in(sender, networks))
    }

    pub fn asks_for_basic(&self) -> bool {
        matches!(self.route.settings.auth, Auth::Basic { .. })
    }

    /// Counts a request that may not use it; how many there were so far.
    pub fn note_intruder(&self) -> u64 {
        self.route.intruders.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether one more request is within its rate.
    pub fn is_within_rate(&self) -> bool {
        let rate = self.route.rate.as_ref();
        rate.is_none_or(|rate| rate.allows(Instant::now()))
    }
}

/// The value of a header; of `Authorization` what follows `Bearer`.
fn without_scheme<'a>(name: &str, value: &'a [u8]) -> &'a [u8] {
    const BEARER: &[u8] = b"bearer ";
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, token))
            if name == AUTHORIZATION.as_str() && scheme.eq_ignore_ascii_case(BEARER) =>
        {
            token
        }
        _ => value,
    }
}

/// Name and password of `Authorization: Basic`.
fn basic(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    const BASIC: &[u8] = b"basic ";
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, packed) = value.split_at_checked(BASIC.len())?;
    if !scheme.eq_ignore_ascii_case(BASIC) {
        return None;
    }
    let mut user = STANDARD.decode(packed).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some((user, password))
}
