//! What can be set of a source that others push to by HTTP: its keys, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::given::Given;
use super::{is_name, keys};
use crate::formats::Format;

/// A shorter one can be guessed.
const SECRET_MIN: usize = 16;
/// The new one and the old one, while senders move from one to the other.
const SECRETS_MAX: usize = 2;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A listener with its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpListener {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// Those that are believed from whom they have a request.
    pub proxies: Vec<IpNet>,
    /// Of one request, as it comes.
    pub max_request_bytes: usize,
    /// Of all bodies that came and are not stored yet, as they came.
    pub max_inflight_request_bytes: usize,
    pub max_inflight_requests: usize,
    pub header_timeout_secs: u64,
    pub body_timeout_secs: u64,
    /// By name.
    pub routes: BTreeMap<String, Route>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFiles {
    /// The server's own certificate first, then those that lead to an authority.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// One path, and what comes by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Without a slash at the end.
    pub path: String,
    pub format: Format,
    pub auth: Auth,
    /// Who may send at all; empty: from anywhere.
    pub networks: Vec<IpNet>,
    /// None: as many as come.
    pub requests_per_second: Option<u64>,
}

/// How a sender shows that it may send.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// A secret in a header of this name, in lower case.
    Header {
        name: String,
        secrets: Secrets,
    },
    Basic {
        username: String,
        secrets: Secrets,
    },
    /// A secret as the last segment of the path.
    Path {
        secrets: Secrets,
    },
    /// It need not, because somebody said so.
    None,
}

impl Auth {
    fn secrets(&self) -> &[String] {
        match self {
            Auth::Header { secrets, .. } | Auth::Basic { secrets, .. } | Auth::Path { secrets } => {
                &secrets.0
            }
            Auth::None => &[],
        }
    }
}

/// Any of them will do. Neither `Debug` nor an error shows one.
#[derive(Clone, PartialEq)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Whether this is one of them; the time that it takes tells nothing of them.
    pub fn have(&self, shown: &[u8]) -> bool {
        let found = self.0.iter().map(|one| is_same(one.as_bytes(), shown));
        found.fold(Choice::from(0), |any, one| any | one).into()
    }
}

/// Compares two texts in a time that depends on the length of the second alone.
pub fn is_same(known: &[u8], shown: &[u8]) -> Choice {
    Sha256::digest(known).ct_eq(&Sha256::digest(shown))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The word of `auth`.
#[derive(Clone, Copy)]
enum AuthKind {
    Header,
    Basic,
    Path,
    None,
}

const AUTHS: [(&str, AuthKind); 4] = [
    ("header", AuthKind::Header),
    ("basic", AuthKind::Basic),
    ("path", AuthKind::Path),
    ("none", AuthKind::None),
];

pub fn listener(given: &mut Given, name: &str) -> HttpListener {
    let table = format!("source.{name}");
    let key = |key: &str| format!("{table}.{key}");
    HttpListener {
        listen: given.address(&key("listen"), (Ipv4Addr::LOCALHOST, 9465).into()),
        tls: tls(given, &table),
        proxies: networks(given, &key("proxies")),
        max_request_bytes: given.size(&key("max_request_bytes"), KIB..=256 * MIB, 8 * MIB),
        max_inflight_request_bytes: given.size(
            &key("max_inflight_request_bytes"),
            KIB..=1 << 40,
            64 * MIB,
        ),
        max_inflight_requests: given.size(&key("max_inflight_requests"), 1..=65_536, 1_024),
        header_timeout_secs: given.number(&key("header_timeout_secs"), 1..=600, 10),
        body_timeout_secs: given.number(&key("body_timeout_secs"), 1..=600, 30),
        routes: given
            .names_in(&key("route"))
            .into_iter()
            .map(|route| (route.clone(), self::route(given, name, &route)))
            .collect(),
    }
}

fn tls(given: &mut Given, table: &str) -> Option<TlsFiles> {
    let (cert_key, key_key) = (format!("{table}.tls_cert"), format!("{table}.tls_key"));
    let (cert, key) = (given.text(&cert_key), given.text(&key_key));
    let (there, missing) = match (cert, key) {
        (Some(cert), Some(key)) => {
            return Some(TlsFiles {
                cert: cert.into(),
                key: key.into(),
            });
        }
        (None, None) => return None,
        (Some(_), None) => (cert_key, "tls_key"),
        (None, Some(_)) => (key_key, "tls_cert"),
    };
    given.refuse(&there, &format!("needs {missing} beside it"));
    None
}

fn route(given: &mut Given, source: &str, name: &str) -> Route {
    let table = format!("source.{source}.route.{name}");
    let key = |key: &str| format!("{table}.{key}");
    let path = given
        .text(&key("path"))
        .unwrap_or_else(|| format!("/in/{source}/{name}"));
    let rate = given.number(&key("requests_per_second"), 0..=1_000_000, 0);
    Route {
        path: path.trim_end_matches('/').to_owned(),
        format: keys::format(given, &table),
        auth: auth(given, &table),
        networks: networks(given, &key("networks")),
        requests_per_second: (rate > 0).then_some(rate),
    }
}

/// Networks, or single addresses. An empty list may have been meant for "nobody", and is none.
fn networks(given: &mut Given, key: &str) -> Vec<IpNet> {
    let one = |text: &String| {
        let network = text.parse::<IpNet>().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    let networks: Option<Vec<IpNet>> = given.list(key).iter().map(one).collect();
    let networks = networks.unwrap_or_default();
    if given.has(key) && networks.is_empty() {
        let allowed = "must be one or more networks such as \"203.0.113.0/24\" or \"2001:db8::/32\", or single addresses";
        given.refuse(key, allowed);
    }
    networks
}

/// Without a word about it nothing is let in: the key must be there.
fn auth(given: &mut Given, table: &str) -> Auth {
    let key = |key: &str| format!("{table}.{key}");
    let secrets = |given: &mut Given| Secrets(given.required_list(&key("secrets")));
    match given.choice(&key("auth"), &AUTHS, None) {
        AuthKind::Header => Auth::Header {
            name: given
                .required_text(&key("auth_header"))
                .to_ascii_lowercase(),
            secrets: secrets(given),
        },
        AuthKind::Basic => Auth::Basic {
            username: given.required_text(&key("username")),
            secrets: secrets(given),
        },
        AuthKind::Path => Auth::Path {
            secrets: secrets(given),
        },
        AuthKind::None => Auth::None,
    }
}

/// Notes what makes no sense in the table of a source.
pub fn check(table: &str, listener: &HttpListener, given: &mut Given) {
    if listener.routes.is_empty() {
        given.problems.push(format!(
            "[{table}] has no route: add a table such as [{table}.route.clicks] with format and auth"
        ));
    }
    if listener.max_request_bytes > listener.max_inflight_request_bytes {
        let problem = format!(
            "{} must not be above {}: such a request would never be taken",
            given.said(
                &format!("{table}.max_request_bytes"),
                listener.max_request_bytes
            ),
            given.said(
                &format!("{table}.max_inflight_request_bytes"),
                listener.max_inflight_request_bytes
            )
        );
        given.problems.push(problem);
    }
    let mut paths = BTreeSet::new();
    for (name, route) in &listener.routes {
        let table = format!("{table}.route.{name}");
        check_route(&table, name, route, given);
        if !paths.insert(&route.path) {
            given.refuse(&format!("{table}.path"), "is the path of another route");
        }
    }
}

fn check_route(table: &str, name: &str, route: &Route, given: &mut Given) {
    if !is_name(name) {
        given.problems.push(format!(
            "[{table}]: a route's name is made of a to z, 0 to 9 and single _ between them, so that a variable can name it"
        ));
    }
    let segments = route.path.strip_prefix('/');
    if segments.is_none_or(|rest| rest.is_empty() || !rest.bytes().all(is_path_byte)) {
        given.refuse(
            &format!("{table}.path"),
            "must be a path such as /in/everflow/clicks, of letters, digits and -._~/",
        );
    }
    if let Auth::Header { name, .. } = &route.auth
        && (name.is_empty() || !name.bytes().all(is_header_byte))
    {
        given.refuse(
            &format!("{table}.auth_header"),
            "must be the name of a header, such as x-api-key",
        );
    }
    if let Auth::Basic { username, .. } = &route.auth
        && username.contains(':')
    {
        given.refuse(&format!("{table}.username"), "must hold no colon");
    }
    check_secrets(table, &route.auth, given);
}

fn check_secrets(table: &str, auth: &Auth, given: &mut Given) {
    let (key, secrets) = (format!("{table}.secrets"), auth.secrets());
    if matches!(auth, Auth::None) {
        return;
    }
    let is_long = |secret: &String| secret.chars().count() >= SECRET_MIN && secret.trim() == secret;
    if secrets.is_empty() || secrets.len() > SECRETS_MAX || !secrets.iter().all(is_long) {
        let allowed = format!(
            "must be one or two texts of at least {SECRET_MIN} characters each, without white space around them"
        );
        given.refuse(&key, &allowed);
    } else if matches!(auth, Auth::Path { .. })
        && !secrets.iter().all(|one| one.bytes().all(is_segment_byte))
    {
        given.refuse(
            &key,
            "must be made of letters, digits and -._~ alone, since they stand in a path",
        );
    }
}

fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_path_byte(byte: u8) -> bool {
    byte == b'/' || is_segment_byte(byte)
}

fn is_header_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}
