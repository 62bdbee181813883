//! One listener for what others push: whether it can listen, its certificate, and who may send what where.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Finding, Findings};
use crate::clock;
use crate::config::{Auth, HttpListener, Route, TlsFiles};
use crate::sources::http::answer::Answer;
use crate::sources::http::tls;

const DAY: i64 = 86_400;
/// A certificate that ends sooner should have been renewed.
const RENEWED_BEFORE: i64 = 14 * DAY;
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub async fn look(name: &str, listener: &HttpListener) -> Vec<Finding> {
    let mut findings = Findings::new(format!("source.{name}"));
    look_at_address(listener, &mut findings).await;
    match &listener.tls {
        Some(files) => judge_certificate(files, &mut findings),
        None if listener.listen.ip().is_loopback() => {}
        None => findings.warn(
            "tls",
            format!(
                "{} is open to others without TLS: secrets can be read on the way",
                listener.listen
            ),
            "set tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy that speaks TLS",
        ),
    }
    for (name, route) in &listener.routes {
        list_route(name, route, listener, &mut findings);
    }
    findings.list
}

async fn look_at_address(listener: &HttpListener, findings: &mut Findings) {
    let listen = listener.listen;
    let taken = match TcpListener::bind(listen).await {
        Ok(_) => return findings.ok("address", format!("{listen} is free")),
        Err(error) => error,
    };
    let advice = "stop the other program, or correct listen";
    match (taken.kind(), &listener.tls) {
        (ErrorKind::AddrInUse, None) if is_hydrant(listen).await => {
            findings.ok("address", format!("{listen} is in use by hydrant"));
        }
        (ErrorKind::AddrInUse, Some(_)) => findings.warn(
            "address",
            format!("{listen} is in use, by hydrant if it runs"),
            advice,
        ),
        _ => findings.fail(
            "address",
            format!("cannot listen on {listen}: {taken}"),
            advice,
        ),
    }
}

/// Whether it answers as we do.
async fn is_hydrant(listen: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(listen).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PROBE_TIMEOUT, asking).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|text| text.ends_with(Answer::NoRoute.text())))
}

fn judge_certificate(files: &TlsFiles, findings: &mut Findings) {
    let advice = "correct tls_cert and tls_key, and let hydrant's user read both files";
    let usable = tls::acceptor(files).and_then(|_| tls::validity(files));
    let (from, until) = match usable {
        Ok(validity) => validity,
        Err(error) => return findings.fail("tls", format!("{error:#}"), advice),
    };
    let now = clock::unix_seconds();
    let (file, renew) = (files.cert.display(), "renew it, then start hydrant again");
    let days = (until - now) / DAY;
    if now < from {
        findings.fail("tls", format!("{file} is not valid yet"), "check the clock");
    } else if now > until {
        findings.fail(
            "tls",
            format!("{file} is not valid any more since {} days", -days),
            renew,
        );
    } else if until - now < RENEWED_BEFORE {
        findings.warn(
            "tls",
            format!("{file} is valid for {days} more days"),
            renew,
        );
    } else {
        findings.ok("tls", format!("{file} is valid for {days} more days"));
    }
}

/// Its URL without a secret, and how a sender shows that it may send.
fn list_route(name: &str, route: &Route, listener: &HttpListener, findings: &mut Findings) {
    let scheme = if listener.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{}{}", listener.listen, route.path);
    let networks: Vec<String> = route.networks.iter().map(IpNet::to_string).collect();
    let from = if networks.is_empty() {
        String::new()
    } else {
        format!(", from {} alone", networks.join(", "))
    };
    match &route.auth {
        Auth::None if networks.is_empty() => findings.warn(
            "route",
            format!("{name}: {url}, open to everybody (auth = \"none\")"),
            "set auth to \"header\", \"basic\" or \"path\" if others can reach it",
        ),
        Auth::None => findings.ok("route", format!("{name}: {url}, without auth{from}")),
        Auth::Path { .. } => {
            findings.ok("route", format!("{name}: {url}/SECRET, auth by path{from}"));
        }
        Auth::Header { name: header, .. } => {
            findings.ok(
                "route",
                format!("{name}: {url}, auth by header {header}{from}"),
            );
        }
        Auth::Basic { .. } => findings.ok("route", format!("{name}: {url}, auth by basic{from}")),
    }
}
