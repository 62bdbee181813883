//! A network between the daemon and the queue, with faults of the network and of SQS itself.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Pass,
    /// It is refused with this status and code.
    Refuse(u16, &'static str),
    /// The connection is reset.
    Reset {
        arrives: bool,
    },
    /// There is no answer, for ever.
    Silence {
        arrives: bool,
    },
    /// It is said to be done for every entry of the batch, and does not arrive.
    Pretend,
    /// The first entry of the batch fails; the others arrive.
    FailFirst {
        sender_fault: bool,
    },
}

type Decide = Box<dyn FnMut(&str) -> Answer + Send>;

/// It stops when it is dropped, and its connections with it.
pub struct SqsProxy {
    /// The setting that makes the source `one` call it.
    pub setting: String,
    faults: Arc<Faults>,
    _listening: AbortOnDropHandle<()>,
}

struct Faults {
    decide: Mutex<Decide>,
    hits: Mutex<Vec<Answer>>,
}

impl SqsProxy {
    /// Before a queue's `endpoint_url`, at first without faults.
    pub async fn start(endpoint: &str) -> SqsProxy {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults {
            decide: Mutex::new(Box::new(|_| Answer::Pass)),
            hits: Mutex::default(),
        });
        let listening = listen(listener, server, Arc::clone(&faults));
        SqsProxy {
            setting: format!("source.one.endpoint_url = \"http://{address}\""),
            faults,
            _listening: AbortOnDropHandle::new(tokio::spawn(listening)),
        }
    }

    /// From now on this says what becomes of each call, by the name of its operation.
    pub fn decide(&self, decide: impl FnMut(&str) -> Answer + Send + 'static) {
        *self.faults.decide.lock().unwrap() = Box::new(decide);
    }

    /// What became of the calls that did not pass.
    pub fn hits(&self) -> Vec<Answer> {
        self.faults.hits.lock().unwrap().clone()
    }
}

async fn listen(listener: TcpListener, server: String, faults: Arc<Faults>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(serve(client, server.clone(), Arc::clone(&faults)));
    }
}

/// A request or a response.
struct Message {
    head: String,
    body: Vec<u8>,
}

/// Serves one connection of the client, with one of its own to the server.
async fn serve(client: TcpStream, server: String, faults: Arc<Faults>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut server = BufReader::new(TcpStream::connect(server).await?);
    loop {
        let mut request = Message::read(&mut client).await?;
        let target = request.header("x-amz-target");
        let operation = target.trim_start_matches("AmazonSQS.").to_owned();
        let answer = (faults.decide.lock().unwrap())(&operation);
        if answer != Answer::Pass {
            faults.hits.lock().unwrap().push(answer);
        }
        let response = match answer {
            Answer::Pass => request.ask(&mut server).await?,
            Answer::Refuse(status, code) => refusal(status, code),
            Answer::Reset { arrives } => {
                if arrives {
                    request.ask(&mut server).await?;
                }
                return SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO));
            }
            Answer::Silence { arrives } => {
                if arrives {
                    request.ask(&mut server).await?;
                }
                return copy(&mut client, &mut sink()).await.map(drop);
            }
            Answer::Pretend => request.success(),
            Answer::FailFirst { sender_fault } => {
                let first = request.take_first_entry();
                let mut response = request.ask(&mut server).await?;
                response.add_failed(&first, sender_fault);
                response
            }
        };
        response.write(&mut client).await?;
    }
}

fn refusal(status: u16, code: &str) -> Message {
    let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"});
    let status = format!("{status} no\r\nx-amzn-query-error: {code};Sender");
    Message::response(&status, &body)
}

impl Message {
    async fn read(from: &mut BufReader<TcpStream>) -> io::Result<Message> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut message = Message {
            head,
            body: Vec::new(),
        };
        message.body = vec![0; message.header("content-length").parse().unwrap_or(0)];
        from.read_exact(&mut message.body).await?;
        Ok(message)
    }

    fn response(status: &str, body: &Value) -> Message {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\n\r\n");
        Message {
            head,
            body: body.to_string().into_bytes(),
        }
    }

    /// What a server answers that has done all of a batch.
    fn success(&self) -> Message {
        let request: Value = serde_json::from_slice(&self.body).unwrap();
        let entries = request["Entries"].as_array().unwrap();
        let done: Vec<Value> = entries.iter().map(|one| json!({"Id": one["Id"]})).collect();
        Message::response("200 OK", &json!({"Successful": done, "Failed": []}))
    }

    fn header(&self, name: &str) -> String {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = headers.filter(|(its_name, _)| its_name.eq_ignore_ascii_case(name));
        values.next().unwrap_or_default().1.to_owned()
    }

    async fn write(&self, to: &mut BufReader<TcpStream>) -> io::Result<()> {
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let lines = self.head.trim_end().lines();
        let mut head: Vec<&str> = lines.filter(|line| !is_length(line)).collect();
        let length = format!("content-length: {}\r\n\r\n", self.body.len());
        head.push(&length);
        let bytes = [head.join("\r\n").as_bytes(), &self.body].concat();
        to.get_mut().write_all(&bytes).await
    }

    async fn ask(&self, server: &mut BufReader<TcpStream>) -> io::Result<Message> {
        self.write(server).await?;
        Message::read(server).await
    }

    /// Takes the first entry out of a batch; its id. A batch must not be empty: one that is gets an entry which fails.
    fn take_first_entry(&mut self) -> Value {
        let mut request: Value = serde_json::from_slice(&self.body).unwrap();
        let entries = request["Entries"].as_array_mut().unwrap();
        let first = entries.remove(0);
        if entries.is_empty() {
            entries.push(json!({"Id": "none", "ReceiptHandle": "none"}));
        }
        self.body = request.to_string().into_bytes();
        first["Id"].clone()
    }

    fn add_failed(&mut self, id: &Value, sender_fault: bool) {
        let mut response: Value = serde_json::from_slice(&self.body).unwrap();
        response["Failed"] = json!([
            {"Id": id, "Code": "InternalError", "Message": "no", "SenderFault": sender_fault}
        ]);
        self.body = response.to_string().into_bytes();
    }
}
