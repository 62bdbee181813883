//! TLS, what is told of secrets, bad input in masses, and what is said before the start.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::support::program::{Finished, run};
use crate::support::{Postgres, hydrant};

/// A certificate for `localhost` that signs itself, valid from year to year, and its key.
fn certificate(folder: &Path, name: &str, years: [i32; 2]) -> [String; 2] {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(years[0], 1, 1);
    params.not_after = date_time_ymd(years[1], 1, 1);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    [("cert", pem), ("key", key.serialize_pem())].map(|(what, pem)| {
        let file = folder.join(format!("{name}-{what}.pem"));
        fs::write(&file, pem).unwrap();
        file.display().to_string()
    })
}

fn tls(cert: &str, key: &str) -> String {
    format!("source.hooks.tls_cert = \"{cert}\"\nsource.hooks.tls_key = \"{key}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key_file] = certificate(folder.path(), "own", [2020, 2090]);
    let hooks = Hooks::start(&tls(&cert, &key_file)).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&cert).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", hooks.port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut sender = Sender::over(connector.connect(name, stream).await.unwrap());
    for id in ["1", "2"] {
        let reply = sender
            .post("/in/hooks/key", &key(), &message(id))
            .await
            .unwrap();
        assert_eq!(reply.status, 200);
    }
    assert_eq!(hooks.stored().await, ["1", "2"]);
    // Who speaks no TLS gets nowhere, and keeps nobody.
    let mut plain = Sender::connect(hooks.port).await.unwrap();
    let _ = plain
        .send("POST", "/in/hooks/key", &key(), &message("3"))
        .await;
    assert!(!plain.closed().await.contains("HTTP"));
    assert_eq!(hooks.daemon.stop("TERM").await.status, Some(0));
}

/// What `hydrant check` says of the source with these settings, and its exit status.
fn check(database: &Database, settings: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    let lines = format!("database.url = \"{}\"\n{settings}", database.url);
    let lines: Vec<_> = lines.lines().map(str::trim).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let output = hydrant(&["check"], &file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_a_listener() {
    let (folder, postgres) = (tempfile::tempdir().unwrap(), Postgres::start());
    let database = postgres.database().await;
    let url = &[("DATABASE_URL", database.url.as_str())];
    assert_eq!(run(&["migrate"], url, b"").status, 0);
    let (port, own) = (free_port(), certificate(folder.path(), "own", [2020, 2090]));
    let (status, said) = check(&database, &routes(port));
    assert_eq!(status, 0, "{said}");
    let url = format!("http://127.0.0.1:{port}");
    for line in [
        format!("address: 127.0.0.1:{port} is free"),
        format!("route: key: {url}/in/hooks/key, auth by header x-api-key"),
        format!("route: name: {url}/elsewhere, auth by basic"),
        format!("route: part: {url}/in/hooks/part/SECRET, auth by path"),
        format!("route: open: {url}/in/hooks/open, open to everybody"),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!said.contains("geheim"), "{said}");
    let old = certificate(folder.path(), "old", [2020, 2021]);
    let missing = "/nowhere/cert.pem".to_owned();
    for ([cert, key], status, word) in [
        ([&own[0], &own[1]], 0, "more days"),
        ([&own[0], &old[1]], 1, "do not serve together"),
        ([&old[0], &old[1]], 1, "not valid any more"),
        ([&missing, &own[1]], 1, "cannot be read"),
        ([&own[1], &own[1]], 1, "holds no certificate"),
    ] {
        let (found, said) = check(&database, &format!("{}{}", routes(port), tls(cert, key)));
        assert_eq!(found, status, "{said}");
        assert!(said.contains(word), "{word}: {said}");
    }
    let hooks = Hooks::start_on(database, "").await;
    let (status, said) = check(&hooks.database, &routes(hooks.port));
    assert!(said.contains("in use by hydrant"), "{said}");
    assert_eq!(status, 0);
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    other.set_nonblocking(true).unwrap();
    let (status, said) = check(&hooks.database, &routes(port));
    assert!(said.contains("cannot listen on"), "{said}");
    assert_eq!(status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_nonsense_raises_the_alarm_and_is_taken() {
    let hooks = Hooks::start("").await;
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    for n in 0..220 {
        let body = format!("no sense {n}");
        let reply = sender
            .post("/in/hooks/key", &key(), body.as_bytes())
            .await
            .unwrap();
        assert_eq!(reply.status, 200);
    }
    assert_eq!(
        hooks
            .daemon
            .metric("hydrant_mostly_bad_input", "hooks")
            .await,
        1.0
    );
    assert_eq!(hooks.daemon.metric("hydrant_paused", "").await, 0.0);
    assert_eq!(hooks.daemon.ready().await.0, 200);
    assert!(
        hooks
            .daemon
            .log()
            .contains("over half of the last 200 bodies")
    );
    assert_eq!(hooks.post(&message("good")).await.status, 200);
    assert_eq!(
        hooks
            .daemon
            .metric("hydrant_mostly_bad_input", "hooks")
            .await,
        0.0
    );
    let quarantined = "select count(*) from quarantine where source = 'hooks.key'";
    assert_eq!(hooks.database.rows(quarantined).await, ["220"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finds_the_format_of_a_route() {
    let hooks = Hooks::start("").await;
    let nameless = format!("{{\"data\":[{}]}}", conversion("nameless"));
    assert_eq!(hooks.post(nameless.as_bytes()).await.status, 200);
    assert_eq!(hooks.stored().await, [""; 0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    let mended = format!(
        "database.url = \"{}\"\n{}source.hooks.route.key.network_id = \"acme\"\n",
        hooks.database.url,
        routes(hooks.port)
    );
    fs::write(&file, mended).unwrap();
    let retry = ["quarantine", "retry", "--source", "hooks"];
    let output = hydrant(&retry, &file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("resolved 1, still bad 0"), "{said}");
    assert_eq!(hooks.stored().await, ["nameless"]);
}

/// Every kind of request, with secrets and values that nobody may see, right and wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_tells_nothing_of_events_and_no_secret() {
    let hooks =
        Hooks::start("log.level = \"trace\"\nsource.hooks.max_request_bytes = 10_000").await;
    let by_path = format!("/in/hooks/part/{SECRET}");
    let wrong = "x-api-key: wrong-geheim-0123456789\r\n".to_owned();
    let large = vec![b' '; 20_000];
    let leak =
        envelope(r#"[{"event_id":"e","action":"click","ip":"203.0.113.7","note":"geheim"}]"#);
    for (path, headers, body, status) in [
        ("/in/hooks/key", key(), leak.as_bytes(), 200),
        ("/in/hooks/key", key(), b"geheim geheim", 200),
        ("/in/hooks/key", key(), &large, 413),
        ("/in/hooks/key", wrong, b"{}", 401),
        (&by_path, String::new(), b"{}", 200),
        (&format!("{by_path}/more"), String::new(), b"{}", 404),
        (&format!("{by_path}more"), String::new(), b"{}", 401),
        (
            &format!("/in/hooks/key?{SECRET}"),
            String::new(),
            b"{}",
            401,
        ),
        ("/elsewhere", basic("everflow", SECRET), b"{}", 200),
        (
            "/elsewhere",
            basic("everflow", "wrong-geheim-012"),
            b"{}",
            401,
        ),
        ("/geheim", String::new(), b"{}", 404),
    ] {
        let reply = post(hooks.port, path, &headers, body).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(!format!("{reply:?}").contains("geheim"), "{reply:?}");
    }
    let mut pages = Vec::new();
    for path in ["/metrics", "/readyz"] {
        pages.push(hooks.daemon.get(path).await.unwrap().1);
    }
    pages.push(hooks.daemon.stop("TERM").await.log);
    let packed = base64(format!("everflow:{SECRET}").as_bytes());
    for page in pages {
        for word in ["geheim", "203.0.113.7", &packed, "elsewhere?"] {
            let line = page.lines().find(|line| line.contains(word));
            assert!(line.is_none(), "{word}: {}", line.unwrap());
        }
    }
}

/// What is said of settings that cannot be used; the secret is in none of it.
fn refusal(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    let settings =
        format!("[database]\nurl = 'postgres://h/d'\n[source.hooks]\ntype = 'http'\n{lines}");
    fs::write(&file, settings).unwrap();
    let Finished { status, err, .. } =
        run(&["check", "--config", file.to_str().unwrap()], &[], b"");
    assert_eq!(status, 2, "{err}");
    assert!(!err.contains("geheim"), "{err}");
    err.replace(file.to_str().unwrap(), "FILE")
}

#[test]
fn a_route_says_how_it_authenticates() {
    let route = |lines: &str| format!("[source.hooks.route.a]\nformat = 'hasoffers'\n{lines}\n");
    let good = "auth = 'header'\nauth_header = 'x-key'\nsecrets = ['long-geheim-0123456']";
    for (lines, said) in [
        (
            String::new(),
            "[source.hooks] has no route: add a table such as [source.hooks.route.clicks]",
        ),
        (
            route(""),
            "source.hooks.route.a.auth is missing: it must be \"header\" or \"basic\" or \"path\" or \"none\";",
        ),
        (
            route("auth = ''"),
            "source.hooks.route.a.auth = \"\" (FILE, line 7) must be \"header\" or",
        ),
        (
            route("auth = 'header'"),
            "source.hooks.route.a.auth_header is missing",
        ),
        (
            route("auth = 'path'"),
            "source.hooks.route.a.secrets is missing",
        ),
        (
            route("auth = 'none'\nsecrets = ['geheim']"),
            "source.hooks.route.a.secrets (FILE, line 8) is not a key",
        ),
        (
            route("auth = 'path'\nsecrets = ['geheim']"),
            "source.hooks.route.a.secrets (FILE, line 8) must be one or two texts of at least 16 characters",
        ),
        (
            route("auth = 'path'\nsecrets = 'long-geheim-0123456'"),
            "source.hooks.route.a.secrets (FILE, line 8) must be a list of texts",
        ),
        (
            route("auth = 'path'\nsecrets = ['geheim/geheim/geheim']"),
            "source.hooks.route.a.secrets (FILE, line 8) must be made of letters, digits",
        ),
        (
            route("auth = 'path'\nsecrets = []"),
            "source.hooks.route.a.secrets (FILE, line 8) must be one or two",
        ),
        (
            route(&format!("networks = []\n{good}")),
            "source.hooks.route.a.networks = [] (FILE, line 7) must be one or more networks such as",
        ),
        (
            format!("proxies = ['10.0.0.0/8', 'proxy']\n{}", route(good)),
            "source.hooks.proxies = [\"10.0.0.0/8\", \"proxy\"] (FILE, line 5) must be one or more networks",
        ),
        (
            route(&format!("path = 'in/a'\n{good}")),
            "source.hooks.route.a.path = \"in/a\" (FILE, line 7) must be a path",
        ),
        (
            format!(
                "{}{}",
                route(good),
                route(&format!("path = '/in/hooks/a/'\n{good}")).replace("route.a", "route.b")
            ),
            "source.hooks.route.b.path = \"/in/hooks/a/\" (FILE, line 12) is the path of another route",
        ),
        (
            format!("tls_cert = 'a.pem'\n{}", route(good)),
            "source.hooks.tls_cert = \"a.pem\" (FILE, line 5) needs tls_key beside it",
        ),
        (
            format!("listen = '127.0.0.1:9464'\n{}", route(good)),
            "source.hooks.listen = \"127.0.0.1:9464\" (FILE, line 5) is the address of admin.listen too",
        ),
        (
            format!("max_request_bytes = 200_000_000\n{}", route(good)),
            "source.hooks.max_request_bytes = 200000000 (FILE, line 5) must not be above source.hooks.max_inflight_request_bytes = 67108864 (by default)",
        ),
    ] {
        let found = refusal(&lines);
        assert!(found.contains(said), "{found}, not {said}");
    }
}

#[test]
fn secrets_may_come_from_the_environment() {
    let (port, admin) = (free_port(), free_port());
    let (listen, admin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin}"));
    let source = |key: &str| format!("HYDRANT__SOURCE__HOOKS__{key}");
    let secrets = format!("{SECRET}, {NEXT_SECRET}");
    let variables: Vec<(String, &str)> = vec![
        ("DATABASE_URL".to_owned(), "postgres://127.0.0.1:1/d"),
        ("HYDRANT__ADMIN__LISTEN".to_owned(), &admin),
        (source("TYPE"), "http"),
        (source("LISTEN"), &listen),
        (source("ROUTE__A__FORMAT"), "hasoffers"),
        (source("ROUTE__A__AUTH"), "path"),
        (source("ROUTE__A__SECRETS"), &secrets),
    ];
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, it)| (name.as_str(), *it))
        .collect();
    let said = run(&["check"], &variables, b"");
    // There is no database; what was said of the route was right.
    assert_eq!(said.status, 1, "{}", said.err);
    assert!(
        said.text().contains("/in/hooks/a/SECRET, auth by path"),
        "{}",
        said.text()
    );
    let short = variables.iter().map(|(name, value)| {
        (
            *name,
            if name.ends_with("SECRETS") {
                "geheim-0,geheim-1"
            } else {
                value
            },
        )
    });
    let said = run(&["check"], &short.collect::<Vec<_>>(), b"");
    assert_eq!(said.status, 2);
    assert!(
        said.err
            .contains("secrets (HYDRANT__SOURCE__HOOKS__ROUTE__A__SECRETS) must be one"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("geheim"), "{}", said.err);
}
