//! What is pushed by HTTP: every answer, and that 200 means stored.

mod limits;
mod outages;
mod safety;

use crate::pages::page;
use crate::support::webhook::{Reply, Sender, post};
use crate::support::{
    Daemon, Database, base64, click, conversion, database, envelope, free_port, gzip,
};

const SECRET: &str = "first-geheim-0123456789";
const NEXT_SECRET: &str = "second-geheim-987654321";

/// A daemon with a route for each kind of authentication.
struct Hooks {
    daemon: Daemon,
    database: Database,
    port: u16,
}

impl Hooks {
    async fn start(settings: &str) -> Hooks {
        let database = database().await;
        Hooks::start_on(database, settings).await
    }

    async fn start_on(database: Database, settings: &str) -> Hooks {
        let port = free_port();
        let settings = format!("{}{settings}", routes(port));
        let daemon = Daemon::start(&database.url, &[], &settings).await;
        Hooks {
            daemon,
            database,
            port,
        }
    }

    /// A POST to the route `key`, with its secret.
    async fn post(&self, body: &[u8]) -> Reply {
        post(self.port, "/in/hooks/key", &key(), body).await
    }

    /// How many requests the route counts with this status.
    async fn counted(&self, route: &str, status: u16) -> f64 {
        let labels = format!("route=\"{route}\",status=\"{status}\"");
        self.daemon
            .metric("hydrant_http_requests_total", &labels)
            .await
    }

    async fn stored(&self) -> Vec<String> {
        let sql = "select event_id from events order by event_id collate \"C\"";
        self.database.rows(sql).await
    }
}

fn routes(port: u16) -> String {
    format!(
        "source.hooks.type = \"http\"
         source.hooks.listen = \"127.0.0.1:{port}\"
         source.hooks.route.key.format = \"hasoffers\"
         source.hooks.route.key.auth = \"header\"
         source.hooks.route.key.auth_header = \"X-Api-Key\"
         source.hooks.route.key.secrets = [\"{SECRET}\", \"{NEXT_SECRET}\"]
         source.hooks.route.bearer.format = \"hasoffers\"
         source.hooks.route.bearer.auth = \"header\"
         source.hooks.route.bearer.auth_header = \"authorization\"
         source.hooks.route.bearer.secrets = [\"{SECRET}\"]
         source.hooks.route.name.format = \"hasoffers\"
         source.hooks.route.name.auth = \"basic\"
         source.hooks.route.name.username = \"everflow\"
         source.hooks.route.name.secrets = [\"{SECRET}\"]
         source.hooks.route.name.path = \"/elsewhere/\"
         source.hooks.route.part.format = \"hasoffers\"
         source.hooks.route.part.auth = \"path\"
         source.hooks.route.part.secrets = [\"{SECRET}\"]
         source.hooks.route.open.format = \"hasoffers\"
         source.hooks.route.open.auth = \"none\"
        "
    )
}

fn key() -> String {
    format!("x-api-key: {SECRET}\r\n")
}

fn basic(name: &str, password: &str) -> String {
    let packed = base64(format!("{name}:{password}").as_bytes());
    format!("authorization: Basic {packed}\r\n")
}

fn message(id: &str) -> Vec<u8> {
    envelope(&format!("[{}]", conversion(id))).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_the_secret_of_a_route_may_send() {
    let hooks = Hooks::start("").await;
    let bearer = |secret: &str| format!("authorization: Bearer {secret}\r\n");
    let by_path = format!("/in/hooks/part/{SECRET}");
    for (n, (path, headers)) in [
        ("/in/hooks/key", key()),
        ("/in/hooks/key/", format!("X-API-KEY: {NEXT_SECRET}\r\n")),
        ("/in/hooks/bearer?sub1=2", bearer(SECRET)),
        ("/elsewhere", basic("everflow", SECRET)),
        ("/elsewhere/", basic("everflow", SECRET)),
        (&by_path, String::new()),
        (&format!("{by_path}/"), String::new()),
        ("/in/hooks/open", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = post(hooks.port, path, &headers, &message(&n.to_string())).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "stored\n"),
            "{path}"
        );
        // It is there when the answer is.
        assert_eq!(hooks.stored().await.len(), n + 1, "{path}");
    }
    let long = format!("{SECRET}x");
    for (path, headers) in [
        ("/in/hooks/key", String::new()),
        ("/in/hooks/key", "x-api-key: \r\n".to_owned()),
        ("/in/hooks/key", format!("x-api-key: {}\r\n", &SECRET[1..])),
        ("/in/hooks/key", format!("x-api-key: {long}\r\n")),
        ("/in/hooks/key", bearer(SECRET)),
        ("/in/hooks/bearer", bearer(NEXT_SECRET)),
        ("/in/hooks/bearer", key()),
        ("/elsewhere", basic("everflow", &long)),
        ("/elsewhere", basic("Everflow", SECRET)),
        ("/elsewhere", "authorization: Basic @\r\n".to_owned()),
        ("/elsewhere", bearer(SECRET)),
        ("/in/hooks/part", key()),
        (&format!("/in/hooks/part/{long}"), String::new()),
        (&format!("/in/hooks/part?{SECRET}"), String::new()),
    ] {
        let reply = post(hooks.port, path, &headers, &message("never")).await;
        assert_eq!(reply.status, 401, "{path} {headers}");
        let asked = reply.header("www-authenticate").is_some();
        assert_eq!(asked, path == "/elsewhere");
    }
    assert_eq!(hooks.stored().await.len(), 8);
    assert_eq!(hooks.counted("key", 200).await, 2.0);
    assert_eq!(hooks.counted("key", 401).await, 5.0);
    assert_eq!(hooks.counted("part", 401).await, 3.0);
}

/// The lines of a block of TOML, each key with its table.
fn flat(toml: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let lines = toml.lines().filter_map(|line| {
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
        }
        let (key, value) = line.split_once(" = ")?;
        Some((format!("{table}{key}"), value.to_owned()))
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_page_sends_is_stored() {
    let page = page("docs/webhooks.md");
    let shown = page.blocks("toml").concat();
    let (port, database) = (free_port(), database().await);
    let mut settings = flat(&shown);
    settings.retain(|(key, _)| key != "database.url");
    let listen = settings
        .iter_mut()
        .find(|(key, _)| key.ends_with(".listen"));
    let listen = std::mem::replace(&mut listen.unwrap().1, format!("\"127.0.0.1:{port}\""));
    let lines: Vec<_> = settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    let _daemon = Daemon::start(&database.url, &[], &lines.join("\n")).await;
    let sh = page.blocks("sh").concat();
    let curl = sh.lines().find(|line| line.starts_with("curl")).unwrap();
    let words: Vec<&str> = curl.split('\'').collect();
    let ["curl -H ", header, " -d ", body, url] = words[..] else {
        panic!("{curl}");
    };
    let host = format!(" http://{}", listen.trim_matches('"'));
    let path = url.strip_prefix(&host).unwrap();
    let headers = format!("{header}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
    let reply = post(port, path, &headers, body.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "stored\n"));
    let sql = "select network_id, conversion_id, payout from everflow_conversions";
    assert_eq!(database.rows(sql).await, ["1|c1|1.5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_delivery_is_refused() {
    let hooks = Hooks::start("").await;
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    for path in [
        "/",
        "/in/hooks",
        "/in/hooks/key/more",
        "/in/hooks/KEY",
        "//",
        "/metrics",
    ] {
        let reply = sender.post(path, &key(), b"{}").await.unwrap();
        assert_eq!(reply.status, 404, "{path}");
    }
    for method in ["GET", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        sender
            .send(method, "/in/hooks/key", &key(), b"")
            .await
            .unwrap();
        let reply = sender.reply().await.unwrap();
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("POST, PUT"))
        );
    }
    assert_eq!(hooks.stored().await, [""; 0]);
    assert_eq!(hooks.counted("", 404).await, 6.0);
    assert_eq!(hooks.counted("key", 405).await, 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_taken_in_every_spelling() {
    let hooks = Hooks::start("").await;
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    for (n, header) in [
        "",
        "content-type: application/json\r\n",
        "content-type: Application/JSON; charset=utf-8\r\n",
        "content-type: application/x-ndjson\r\n",
        "content-type: application/vnd.api+json\r\n",
        "content-type: text/plain\r\n",
        "content-type: application/octet-stream\r\ncontent-encoding: gzip\r\n",
        "content-encoding: GZIP\r\n",
        "content-type: application/gzip\r\n",
        // What is said of it is wrong: its bytes show what it is.
        "content-type: application/xml\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: image/png\r\ncontent-encoding: br\r\n",
        "content-encoding: gzip, br\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let headers = format!("{}{header}", key());
        let (plain, packed) = (
            message(&format!("{n}-plain")),
            message(&format!("{n}-gzip")),
        );
        for body in [plain, gzip(&packed)] {
            let reply = sender.post("/in/hooks/key", &headers, &body).await.unwrap();
            assert_eq!(reply.status, 200, "{header}");
        }
    }
    sender
        .send("PUT", "/in/hooks/key", &key(), &message("put"))
        .await
        .unwrap();
    assert_eq!(sender.reply().await.unwrap().status, 200);
    let body = message("chunks");
    let (one, other) = body.split_at(7);
    let head = format!(
        "POST /in/hooks/key HTTP/1.1\r\nhost: test\r\n{}transfer-encoding: chunked\r\n\r\n7\r\n",
        key()
    );
    let chunk = format!("\r\n{:x}\r\n", other.len());
    for part in [
        head.as_bytes(),
        one,
        chunk.as_bytes(),
        other,
        b"\r\n0\r\n\r\n",
    ] {
        sender.write(part).await.unwrap();
    }
    assert_eq!(sender.reply().await.unwrap().status, 200);
    assert_eq!(hooks.stored().await.len(), 28);
    let received = "hydrant_messages_received_total";
    let received = hooks.daemon.metric(received, "source=\"hooks\"").await;
    assert_eq!(received, 28.0);
    let quarantine = hooks.database.rows("select count(*) from quarantine").await;
    assert_eq!(quarantine, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refused_for_its_content() {
    let hooks = Hooks::start("").await;
    hooks
        .database
        .rows(
            "create function refuse() returns trigger language plpgsql as $$ begin
                 raise exception 'never' using errcode = '22000'; end $$;
             create trigger refuse before insert on events_conversions for each row
                 when (new.event_id = 'refused') execute function refuse()",
        )
        .await;
    let cut = gzip(&message("cut"));
    for body in [
        &b""[..],
        b"no sense",
        b"{",
        b"[]",
        &cut[..cut.len() - 9],
        &message("refused"),
        envelope(r#"[{"event_id":"bad","action":"dance"}]"#).as_bytes(),
    ] {
        assert_eq!(hooks.post(body).await.status, 200);
    }
    let open = post(hooks.port, "/in/hooks/open", "", b"no sense").await;
    assert_eq!(open.status, 200);
    // Really in the coding that its header names, and no JSON at all.
    for (header, body) in [
        ("content-encoding: br\r\n", &b"\x8b\x02\x80{}\x03"[..]),
        (
            "content-type: application/xml\r\n",
            b"<conversion id=\"1\"/>",
        ),
    ] {
        let reply = post(hooks.port, "/in/hooks/open", header, body).await;
        assert_eq!(reply.status, 200, "{header}");
    }
    let found = "select source, scope, reason from quarantine order by 1, 2, 3";
    assert_eq!(
        hooks.database.rows(found).await,
        [
            "hooks.key|body|empty_body",
            "hooks.key|body|gzip_truncated",
            "hooks.key|body|not_an_object",
            "hooks.key|body|not_gzip",
            "hooks.key|body|not_json",
            "hooks.key|event|action",
            "hooks.key|event|refused_by_database",
            "hooks.open|body|not_base64",
            "hooks.open|body|not_base64",
            "hooks.open|body|not_gzip",
        ]
    );
    // The siblings of what is bad are stored.
    let mixed = envelope(&format!("[{},{{}},{}]", click("a"), conversion("refused")));
    assert_eq!(hooks.post(mixed.as_bytes()).await.status, 200);
    assert_eq!(hooks.stored().await, ["a"]);
}
