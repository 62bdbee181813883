//! `hydrant stand-in`.

use std::io::{self, Write as _};

use anyhow::{Context, anyhow};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, printed};
use crate::cli::StandIn;
use crate::stand_in::client::{client, create_queue};
use crate::stand_in::serve;

pub async fn run(args: StandIn) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on --listen {}", args.listen))?;
    let endpoint = format!(
        "http://{}",
        listener.local_addr().context("cannot tell the port")?
    );
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, stop.clone()));
    let queue_url = create_queue(&client(&endpoint), &args.queue)
        .await
        .map_err(Failure::Usage)?;
    let told = if args.json {
        format!(
            "{}\n",
            json!({"endpoint_url": endpoint, "queue_url": queue_url})
        )
    } else {
        format!(
            "endpoint_url = \"{endpoint}\"\nqueue_url = \"{queue_url}\"\n\
             Nothing is persisted, and any credentials will do. Ctrl-C ends it.\n"
        )
    };
    printed(io::stdout().write_all(told.as_bytes()))?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    let served = server.await.map_err(|error| anyhow!(error))?;
    Ok(served.context("the stand-in ended")?)
}
