//! A network between the daemon and Postgres that fails where it hurts.
//!
//! It knows as much of the protocol as it takes to see the client's messages one by one, and the SQL in them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What happens at a message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It arrives.
    None,
    /// Both connections end, and it never arrives.
    CutBefore,
    /// Half of it arrives.
    CutWithin,
    /// It arrives, and both connections end at once: nobody can know what comes of it.
    CutAfter,
    /// It arrives and is done, and its answer does not come back.
    CutAnswer,
    /// It never arrives, and the client's connection is reset.
    Reset,
    /// It never arrives. The client reads the end of the stream from a connection that stays open.
    HalfClose,
    /// From here on nothing arrives anywhere, and neither side is told; not the end of the client either.
    BlackHole,
    /// As before, but this message still arrives.
    BlackHoleAfter,
    /// It arrives byte by byte.
    Slow,
    /// Before it a statement fails that the client knows nothing of; a COPY fails at it.
    FailedStatement,
    /// It waits for ever, and is gone when the client ends.
    Hold,
}

/// One message of the client.
pub struct Message<'a> {
    /// The byte that says what it is, such as `Q`.
    pub kind: u8,
    /// Of a query or of a statement to prepare; else empty.
    pub sql: &'a str,
}

impl Message<'_> {
    /// The COMMIT of a batch. That of a new day's partition has a transaction of its own around it.
    pub fn is_commit(&self) -> bool {
        self.sql == "select 1; commit"
    }
}

type Decide = Box<dyn FnMut(&Message<'_>) -> Fault + Send>;

/// It stops when it is dropped, and its connections with it.
pub struct Proxy {
    /// The database's address, through the proxy.
    pub url: String,
    /// While it is true, new connections end at once.
    pub refusing: Arc<AtomicBool>,
    network: Arc<Network>,
    _listening: AbortOnDropHandle<()>,
}

struct Network {
    server: (String, u16),
    decide: Mutex<Decide>,
    hits: Mutex<Vec<Fault>>,
    /// What fell into a black hole.
    lost: Mutex<Vec<(OwnedReadHalf, OwnedWriteHalf)>>,
}

impl Proxy {
    /// Before a database, at first without faults.
    pub async fn start(database: &str) -> Proxy {
        let (login, rest) = database.split_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("{login}@{}/{name}", listener.local_addr().unwrap());
        let refusing = Arc::new(AtomicBool::new(false));
        let network = Arc::new(Network {
            server: (host.to_owned(), port.parse().unwrap()),
            decide: Mutex::new(Box::new(|_| Fault::None)),
            hits: Mutex::default(),
            lost: Mutex::default(),
        });
        let listening = listen(listener, Arc::clone(&refusing), Arc::clone(&network));
        Proxy {
            url,
            refusing,
            network,
            _listening: AbortOnDropHandle::new(tokio::spawn(listening)),
        }
    }

    /// From now on this says what happens at each message. It is asked for one message at a time.
    pub fn decide(&self, decide: impl FnMut(&Message<'_>) -> Fault + Send + 'static) {
        *self.network.decide.lock().unwrap() = Box::new(decide);
    }

    /// The faults that happened.
    pub fn hits(&self) -> Vec<Fault> {
        self.network.hits.lock().unwrap().clone()
    }
}

async fn listen(listener: TcpListener, refusing: Arc<AtomicBool>, network: Arc<Network>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if !refusing.load(Ordering::SeqCst) {
            connections.spawn(serve(client, Arc::clone(&network)));
        }
    }
}

/// Serves a connection to its end. That of one side is that of both.
async fn serve(client: TcpStream, network: Arc<Network>) -> io::Result<()> {
    let server = TcpStream::connect(network.server.clone()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_read, mut client_write) = client.into_split();
    let (mut server_read, mut server_write) = server.into_split();
    let mut client_read = BufReader::new(client_read);
    let mut begun = false;
    loop {
        let (message, fault) = tokio::select! {
            struck = pass(&mut client_read, &mut server_write, &mut begun, &network) => struck?,
            ended = copy(&mut server_read, &mut client_write) => return ended.map(drop),
        };
        network.hits.lock().unwrap().push(fault);
        match fault {
            Fault::None | Fault::CutBefore => return Ok(()),
            Fault::CutWithin => return server_write.write_all(&message[..message.len() / 2]).await,
            Fault::CutAfter => return server_write.write_all(&message).await,
            Fault::CutAnswer => {
                server_write.write_all(&message).await?;
                return until_ready(&mut server_read).await;
            }
            Fault::Reset => {
                return SockRef::from(client_write.as_ref()).set_linger(Some(Duration::ZERO));
            }
            Fault::HalfClose => {
                client_write.shutdown().await?;
                return copy(&mut client_read, &mut sink()).await.map(drop);
            }
            Fault::Hold => return copy(&mut client_read, &mut sink()).await.map(drop),
            Fault::BlackHole | Fault::BlackHoleAfter => {
                if fault == Fault::BlackHoleAfter {
                    server_write.write_all(&message).await?;
                }
                let _ = copy(&mut client_read, &mut sink()).await;
                network
                    .lost
                    .lock()
                    .unwrap()
                    .push((server_read, server_write));
                return Ok(());
            }
            Fault::Slow => {
                for byte in message {
                    server_write.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            // The rest of the data is ignored.
            Fault::FailedStatement if matches!(message[0], b'd' | b'c') => {
                server_write.write_all(&saying(b'f', "as told")).await?;
            }
            Fault::FailedStatement => {
                server_write.write_all(&saying(b'Q', "select 1/0")).await?;
                until_ready(&mut server_read).await?;
                server_write.write_all(&message).await?;
            }
        }
    }
}

/// Passes messages on, up to one at which something else happens.
async fn pass(
    client: &mut BufReader<OwnedReadHalf>,
    server: &mut OwnedWriteHalf,
    begun: &mut bool,
    network: &Network,
) -> io::Result<(Vec<u8>, Fault)> {
    loop {
        let bytes = read(client, *begun).await?;
        if *begun {
            let fault = (network.decide.lock().unwrap())(&understand(&bytes));
            if fault != Fault::None {
                return Ok((bytes, fault));
            }
        } else {
            // Before the message that begins a session comes the question whether the server speaks TLS.
            *begun = bytes[4..8] == 196_608_u32.to_be_bytes();
        }
        server.write_all(&bytes).await?;
    }
}

/// Reads a message: what it is (but for the first ones), its length, and the rest.
async fn read(from: &mut (impl AsyncReadExt + Unpin), has_kind: bool) -> io::Result<Vec<u8>> {
    let at = usize::from(has_kind);
    let mut bytes = vec![0; at + 4];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes(bytes[at..].try_into().unwrap());
    bytes.resize(at + length as usize, 0);
    from.read_exact(&mut bytes[at + 4..]).await?;
    Ok(bytes)
}

fn understand(bytes: &[u8]) -> Message<'_> {
    let mut texts = bytes[5..].split(|byte| *byte == 0);
    let sql = match bytes[0] {
        b'Q' => texts.next(),
        b'P' => texts.nth(1),
        _ => None,
    };
    Message {
        kind: bytes[0],
        sql: std::str::from_utf8(sql.unwrap_or_default()).unwrap(),
    }
}

/// A message of one text.
fn saying(kind: u8, text: &str) -> Vec<u8> {
    let length = (4 + text.len() as u32 + 1).to_be_bytes();
    [&[kind], &length[..], text.as_bytes(), &[0]].concat()
}

/// Reads an answer to its end: the server is ready for more.
async fn until_ready(server: &mut OwnedReadHalf) -> io::Result<()> {
    while read(server, true).await?[0] != b'Z' {}
    Ok(())
}
