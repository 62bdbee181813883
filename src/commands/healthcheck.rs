//! `hydrant healthcheck`: what the daemon beside us says of itself, for a container that holds no other program.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, pretty, printed};
use crate::cli::Healthcheck;
use crate::config;

/// The daemon takes two seconds to ask its database.
const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn run(args: Healthcheck) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    let address = own(config.admin.listen);
    let path = if args.live { "/healthz" } else { "/readyz" };
    let url = format!("http://{address}{path}");
    let asked = ask(address, path, &url).await;
    let (status, troubles) = match &asked {
        Ok(answer) if answer.is_well => ("well", Vec::new()),
        Ok(answer) => ("unwell", answer.body.lines().map(str::to_owned).collect()),
        Err(error) => ("unreachable", vec![format!("{error:#}")]),
    };
    let text = match &asked {
        _ if args.json => pretty(&json!({"url": url, "status": status, "troubles": troubles}))?,
        Ok(answer) => answer.body.clone(),
        Err(_) => String::new(),
    };
    printed(io::stdout().write_all(text.as_bytes()))?;
    if asked?.is_well {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!(
        "the daemon at {address} is not well"
    )))
}

/// What the daemon answered.
struct Answer {
    is_well: bool,
    body: String,
}

async fn ask(address: SocketAddr, path: &str, url: &str) -> anyhow::Result<Answer> {
    let asked = tokio::time::timeout(TIMEOUT, get(address, path)).await;
    let answer = asked.with_context(|| format!("no answer of {url} in 5 s"))?;
    let answer = answer.with_context(|| format!("no daemon answers at {url}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok(Answer {
        is_well: head.split(' ').nth(1) == Some("200"),
        body: body.to_owned(),
    })
}

/// Where to reach what listens there: every address is ours as well.
fn own(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The answer, with its head.
async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
