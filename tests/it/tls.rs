//! TLS to Postgres, as the URL asks for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::program::run;
use crate::support::{Daemon, Postgres, Queue, body, conversion, envelope, wait_until};

/// A cluster with TLS whose certificate, for `localhost`, is signed by the authority `ca`; `other_ca` is another.
struct Server {
    postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Server {
        let (postgres, folder) = (Postgres::start(), tempfile::tempdir().unwrap());
        let issuer = authority(&folder.path().join("ca.pem"));
        authority(&folder.path().join("other_ca.pem"));
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        own(&postgres.data, "server.crt", &certificate.pem());
        own(&postgres.data, "server.key", &key.serialize_pem());
        let server = Server { postgres, folder };
        server
            .tell("alter system set ssl = on; select pg_reload_conf()")
            .await;
        wait_until("the server speaks TLS", 20, async || {
            server.migrate("localhost", "sslmode=require").0 == 0
        })
        .await;
        server
    }

    async fn tell(&self, sql: &str) {
        for sql in sql.split("; ") {
            self.postgres.database().await.rows(sql).await;
        }
    }

    fn ca(&self, name: &str) -> String {
        format!("sslrootcert={}", self.folder.path().join(name).display())
    }

    fn url(&self, host: &str, options: &str) -> String {
        format!(
            "postgres://postgres@{host}:{}/postgres?{options}",
            self.postgres.port
        )
    }

    /// Status and words of a command that connects.
    fn migrate(&self, host: &str, options: &str) -> (i32, String) {
        let url = self.url(host, options);
        let ended = run(&["migrate"], &[("DATABASE_URL", &url)], b"");
        (ended.status, ended.err)
    }
}

/// Makes an authority and writes its certificate down.
fn authority(file: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    // Two of one name would be told apart by their keys alone, which is another error.
    let name = file.file_stem().unwrap().to_str().unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

/// A file that the server takes for its own: it refuses a key that others can read.
fn own(data: &Path, name: &str, text: &str) {
    let file: PathBuf = data.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(data.metadata().unwrap().uid()), None).unwrap();
}

const SENTENCE: &str = "hydrant: could not connect to the database by TLS: ";
const ADVICE: &str = "; see sslmode and sslrootcert in database.url\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_url_says_how_far_the_server_must_prove_who_it_is() {
    let server = Server::start().await;
    let (ca, other) = (server.ca("ca.pem"), server.ca("other_ca.pem"));
    for (host, options) in [
        ("localhost", format!("sslmode=verify-full&{ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{ca}")),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=disable".to_owned()),
    ] {
        assert_eq!(
            server.migrate(host, &options),
            (0, String::new()),
            "{host} {options}"
        );
    }
    for (host, options, words) in [
        (
            "localhost",
            format!("sslmode=verify-full&{other}"),
            "UnknownIssuer",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&{other}"),
            "UnknownIssuer",
        ),
        (
            "localhost",
            "sslmode=verify-full".to_owned(),
            "UnknownIssuer",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{ca}"),
            "not valid for name",
        ),
    ] {
        let (status, said) = server.migrate(host, &options);
        assert_eq!(status, 1, "{host} {options}: {said}");
        assert!(
            said.starts_with(SENTENCE) && said.ends_with(ADVICE),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
    }
    // Without TLS on the server nobody who asked for it gets in.
    server
        .tell("alter system set ssl = off; select pg_reload_conf()")
        .await;
    wait_until("the server speaks no TLS", 20, async || {
        server.migrate("localhost", "sslmode=require").0 == 1
    })
    .await;
    let (_, said) = server.migrate("localhost", "sslmode=require");
    assert!(
        said.starts_with(SENTENCE) && said.ends_with(ADVICE),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_speaks_tls_on_every_connection() {
    let (queue, server) = (Queue::start().await, Server::start().await);
    let wrong = server.url("localhost", "sslmode=verify-full");
    let ended = Daemon::spawn(&wrong, &[&queue], "", &[]).ended(20).await;
    assert_eq!(ended.status, Some(1), "{}", ended.log);
    assert!(
        ended.log.lines().last().unwrap().starts_with(SENTENCE),
        "{}",
        ended.log
    );

    let right = server.url(
        "localhost",
        &format!("sslmode=verify-full&{}", server.ca("ca.pem")),
    );
    let _daemon = Daemon::start(&right, &[&queue], "").await;
    let events: Vec<_> = (0..2)
        .map(|n| body(&envelope(&conversion(&n.to_string()))))
        .collect();
    queue.send(&events).await;
    queue.drained(30).await;
    let database = server.postgres.database().await;
    let sessions = "select bool_and(s.ssl), count(*) >= 2 from pg_stat_activity a join pg_stat_ssl s using (pid)
        where a.datname = 'postgres' and a.backend_type = 'client backend'";
    wait_until("every session of the daemon speaks TLS", 20, async || {
        database.rows(sessions).await == ["t|t"]
    })
    .await;
}
