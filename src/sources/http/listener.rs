//! Taking connections, with or without TLS, and letting go of them when the daemon stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::tls;
use crate::config::HttpListener;

/// Connections beside those whose requests may wait: idle ones, and those that are told to come again.
const SPARE_CONNECTIONS: usize = 256;
/// The longest head of a request.
const HEAD_BYTES: usize = 64 << 10;
/// After an error that may be over soon, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long the last answers may take to be read when all is stored.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// An address that is ours.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Takes connections for a door.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    door: Arc<Door>,
    header_timeout: Duration,
    connections: Arc<Semaphore>,
}

/// # Errors
/// The address is taken, or the certificate or its key cannot be used.
pub async fn bind(source: &str, settings: &HttpListener) -> anyhow::Result<Bound> {
    let tls = match &settings.tls {
        Some(files) => Some(Tls(
            tls::acceptor(files).with_context(|| format!("source.{source}"))?
        )),
        None => None,
    };
    let listen = settings.listen;
    let socket = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on source.{source}.listen = {listen}"))?;
    Ok(Bound { socket, tls })
}

impl Listener {
    pub fn new(bound: Bound, door: Door, settings: &HttpListener) -> Listener {
        Listener {
            bound,
            door: Arc::new(door),
            header_timeout: Duration::from_secs(settings.header_timeout_secs),
            connections: Arc::new(Semaphore::new(
                settings.max_inflight_requests + SPARE_CONNECTIONS,
            )),
        }
    }

    /// Serves until the writers have ended: while they finish what is held, others hear that we stop.
    pub async fn run(self) {
        let (end, mut connections) = (CancellationToken::new(), JoinSet::new());
        loop {
            tokio::select! {
                () = self.door.writers_ended() => break,
                Some(_) = connections.join_next() => {}
                (stream, peer, permit) = self.accept() => {
                    connections.spawn(self.serve(stream, peer, permit, end.clone()));
                }
            }
        }
        drop(self);
        end.cancel();
        let all = async { while connections.join_next().await.is_some() {} };
        // A sender that does not read its answer keeps nobody.
        let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
    }

    async fn accept(&self) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
        // It is never closed.
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        loop {
            match self.bound.socket.accept().await {
                Ok((stream, peer)) => {
                    self.door.feed().set_trouble(None);
                    return (stream, peer, permit);
                }
                // Of a connection that ended before we took it.
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    let trouble = format!("cannot take connections: {error}");
                    self.door.feed().set_trouble(Some(trouble));
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// Serves one connection to its end, or until `end` and the answer that is under way.
    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
        end: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let (door, tls) = (Arc::clone(&self.door), self.bound.tls.clone());
        let timeout = self.header_timeout;
        async move {
            let _permit = permit;
            // An answer is one small packet: it must not wait for another. Without this it is only slower.
            let _ = stream.set_nodelay(true);
            let Some(Tls(acceptor)) = tls else {
                return speak(stream, peer, door, timeout, end).await;
            };
            if let Ok(Ok(stream)) = tokio::time::timeout(timeout, acceptor.accept(stream)).await {
                speak(stream, peer, door, timeout, end).await;
            }
        }
    }
}

/// Speaks HTTP. How it ends is the sender's matter: what came whole was counted and answered.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    door: Arc<Door>,
    header_timeout: Duration,
    end: CancellationToken,
) {
    let service = service_fn(|request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(peer.ip(), request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ = connection.as_mut() => {}
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
