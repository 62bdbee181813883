//! What systemd hears of the daemon, on a socket as systemd makes it, and what `hydrant healthcheck` says.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::program::run;
use crate::support::sqs_proxy::{Answer, SqsProxy};
use crate::support::{
    Daemon, Postgres, Queue, Stop, body, conversion, database, envelope, free_port, wait_until,
};

/// The end that systemd listens at.
struct Systemd {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
    unread: Vec<String>,
}

impl Systemd {
    fn start() -> Systemd {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Systemd {
            socket,
            folder,
            unread: Vec::new(),
        }
    }

    /// The environment of a unit with `WatchdogSec=` so many seconds.
    fn variables(&self, watchdog_secs: u64) -> [(&'static str, String); 2] {
        let path = self.folder.path().join("notify");
        [
            ("NOTIFY_SOCKET", path.display().to_string()),
            ("WATCHDOG_USEC", (watchdog_secs * 1_000_000).to_string()),
        ]
    }

    /// The lines that came since the last call.
    fn hear(&mut self) -> Vec<String> {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
            self.unread.extend(text.lines().map(str::to_owned));
        }
        std::mem::take(&mut self.unread)
    }

    /// Waits for a line; those before it.
    async fn until(&mut self, line: &str) -> Vec<String> {
        let mut before = Vec::new();
        wait_until(line, 30, async || {
            before.extend(self.hear());
            before.contains(&line.to_owned())
        })
        .await;
        let at = before.iter().position(|it| it == line).unwrap();
        self.unread = before.split_off(at + 1);
        before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_the_start_of_how_it_goes_and_of_the_end() {
    let (queue, postgres, mut systemd) =
        (Queue::start().await, Postgres::start(), Systemd::start());
    let database = postgres.database().await;
    postgres.stop(Stop::Fast);
    let variables = systemd.variables(4);
    let daemon = Daemon::spawn_under(&database.url, &[&queue], "", &variables);
    let status = "STATUS=paused: store_unavailable; starting";
    let before = systemd.until(status).await;
    assert!(!before.contains(&"READY=1".to_owned()), "{before:?}");
    postgres.start_again();
    systemd.until("READY=1").await;
    systemd.until("STATUS=ready").await;
    systemd.until("WATCHDOG=1").await;
    daemon.signal("TERM");
    systemd.until("STOPPING=1").await;
    assert_eq!(daemon.ended(30).await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_nothing_while_a_worker_hangs() {
    let (queue, database, mut systemd) = (Queue::start().await, database().await, Systemd::start());
    let proxy = SqsProxy::start(&queue.endpoint).await;
    let settings = format!("source.one.workers = 2\n{}", proxy.setting);
    let variables = systemd.variables(3);
    let daemon = Daemon::spawn_under(&database.url, &[&queue], &settings, &variables);
    systemd.until("WATCHDOG=1").await;
    // The receive of one of the two workers ends only after its own time limit, eleven seconds later. The other one works.
    let mut silences = 1;
    proxy.decide(move |operation| {
        let is_silent = operation == "ReceiveMessage" && silences > 0;
        silences -= i32::from(is_silent);
        match is_silent {
            true => Answer::Silence { arrives: false },
            false => Answer::Pass,
        }
    });
    wait_until("it hangs", 30, async || {
        daemon.log().contains("a worker hangs")
    })
    .await;
    systemd.hear();
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let heard = systemd.hear();
        assert!(!heard.contains(&"WATCHDOG=1".to_owned()), "{heard:?}");
    }
    assert_eq!(daemon.get("/healthz").await.unwrap().0, 200);
    systemd.until("WATCHDOG=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_database_and_queue_is_no_hanging() {
    let (queue, postgres, mut systemd) =
        (Queue::start().await, Postgres::start(), Systemd::start());
    let database = postgres.database().await;
    let proxy = SqsProxy::start(&queue.endpoint).await;
    let variables = systemd.variables(4);
    let daemon = Daemon::spawn_under(&database.url, &[&queue], &proxy.setting, &variables);
    systemd.until("STATUS=ready").await;
    postgres.stop(Stop::Fast);
    queue
        .send(&[body(&envelope(&format!("[{}]", conversion("1"))))])
        .await;
    systemd.until("STATUS=paused: store_unavailable").await;
    proxy.decide(|_| Answer::Reset { arrives: false });
    tokio::time::sleep(Duration::from_secs(15)).await;
    systemd.hear();
    systemd.until("WATCHDOG=1").await;
    assert!(!daemon.log().contains("a worker hangs"), "{}", daemon.log());
}

/// The status, the output and the last line of the error of a healthcheck.
fn healthcheck(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let finished = run(&[&["healthcheck"], arguments].concat(), variables, b"");
    let said = finished.text().to_owned();
    (finished.status, said, finished.err)
}

/// The same with --json: the status, and the object.
fn healthcheck_json(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, Value) {
    let arguments = [arguments, &["--json"]].concat();
    let (status, said, _) = healthcheck(&arguments, variables);
    let told = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (status, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthcheck_tells_what_the_daemon_says() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let config = daemon.config().display().to_string();
    let arguments = ["--config", &config];
    let well = (0, "ready\n".to_owned(), String::new());
    assert_eq!(healthcheck(&arguments, &[]), well);
    let (status, told) = healthcheck_json(&arguments, &[]);
    let url = told["url"].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with("/readyz"),
        "{url}"
    );
    assert_eq!(
        (status, &told),
        (0, &json!({"url": url, "status": "well", "troubles": []}))
    );
    postgres.stop(Stop::Fast);
    wait_until("it says what is wrong", 30, async || {
        let (status, said, error) = healthcheck(&arguments, &[]);
        status == 1 && said.starts_with("database: ") && error.contains("is not well")
    })
    .await;
    let (status, said, _) = healthcheck(&["--live", "--config", &config], &[]);
    assert_eq!((status, said.as_str()), (0, "alive\n"));
    let (status, told) = healthcheck_json(&arguments, &[]);
    assert_eq!((status, &told["status"]), (1, &json!("unwell")));
    let trouble = told["troubles"][0].as_str().unwrap();
    assert!(!trouble.is_empty() && trouble != "ready", "{told}");
    let (status, told) = healthcheck_json(&["--live", "--config", &config], &[]);
    assert_eq!((status, &told["status"]), (0, &json!("well")));
}

#[test]
fn a_healthcheck_fails_where_no_daemon_runs() {
    let listen = format!("0.0.0.0:{}", free_port());
    let variables = [
        ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
        ("HYDRANT__ADMIN__LISTEN", &listen),
    ];
    let (status, said, error) = healthcheck(&[], &variables);
    assert_eq!((status, said.as_str()), (1, ""));
    let words = "no daemon answers at http://127.0.0.1:";
    assert!(error.contains(words), "{error}");
    let (status, told) = healthcheck_json(&[], &variables);
    assert_eq!((status, &told["status"]), (1, &json!("unreachable")));
    assert!(
        told["troubles"][0].as_str().unwrap().contains(words),
        "{told}"
    );
}
