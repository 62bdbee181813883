//! A sender of webhooks that controls every byte: what it sends, when, and whether it waits for the answer.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A connection.
pub struct Sender<S = TcpStream> {
    stream: BufReader<S>,
}

impl Sender {
    pub async fn connect(port: u16) -> io::Result<Sender> {
        Ok(Sender::over(TcpStream::connect(("127.0.0.1", port)).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    pub fn over(stream: S) -> Sender<S> {
        Sender {
            stream: BufReader::new(stream),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await?;
        self.stream.get_mut().flush().await
    }

    /// Sends a POST with these lines of headers, and waits for the answer.
    pub async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<Reply> {
        self.send("POST", path, headers, body).await?;
        self.reply().await
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.write(&[head.as_bytes(), body].concat()).await
    }

    /// The next answer; an error when the connection ends before it.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let reading = self.read_reply();
        let reply = tokio::time::timeout(Duration::from_secs(60), reading).await;
        reply.expect("no answer in a minute")
    }

    async fn read_reply(&mut self) -> io::Result<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply {
            status: status.parse().unwrap(),
            headers,
            body: String::new(),
        };
        let length = reply
            .header("content-length")
            .map_or(0, |it| it.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        reply.body = String::from_utf8(body).unwrap();
        Ok(reply)
    }

    /// Waits until the other side has closed the connection; what came before.
    pub async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
        // A reset is an end, too.
        let _ = read.expect("not closed in a minute");
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// One POST on a connection of its own.
pub async fn post(port: u16, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut sender = Sender::connect(port).await.unwrap();
    sender.post(path, headers, body).await.unwrap()
}
