//! A PostgreSQL cluster that a test starts, may crash, and that leaves nothing behind.
//!
//! A test process may end without running a destructor: a static is never dropped, and after `kill
//! -9` nothing is. So each cluster has a watchdog, a shell that waits for the end of its standard
//! input. The other end of that pipe is held by the test process alone, so it closes with the
//! [`Postgres`] or with the process, whichever goes first; the watchdog then stops the server and
//! removes the folder.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Database;

/// A cluster on a free port of 127.0.0.1, with a superuser `postgres` who needs no password.
pub struct Postgres {
    programs: Programs,
    /// The data folder; `log` in it is the server's log.
    pub data: PathBuf,
    pub port: u16,
    watchdog: Child,
}

/// How a server ends: a mode of `pg_ctl stop`.
#[derive(Clone, Copy)]
pub enum Stop {
    /// In good order, but sessions are cut off.
    Fast,
    /// As in a crash: the next start recovers from the write-ahead log.
    Immediate,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with more lines of `postgresql.conf`, such as `"lock_timeout = '1s'"`.
    pub fn start_with(settings: &[&str]) -> Self {
        let bin = programs();
        let folder = tempfile::Builder::new()
            .prefix("hydrant-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        let programs = Programs {
            bin,
            as_postgres: folder.metadata().unwrap().uid() == 0,
        };
        let data = folder.join("data");
        let watchdog = programs.watch(&folder, &data).unwrap();
        let mut postgres = Self {
            programs,
            data,
            port: 0,
            watchdog,
        };
        postgres.initialise(&folder);
        postgres.first_launch(settings);
        postgres
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// An empty database on this cluster.
    pub async fn database(&self) -> Database {
        Database::create(self).await
    }

    pub fn stop(&self, how: Stop) {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.pg_ctl(&["stop", "-m", mode]).unwrap();
    }

    /// Starts the stopped server on the port that it had.
    pub fn start_again(&self) {
        self.launch().unwrap();
    }

    /// Makes the cluster. Text sorts by the rules of a language where the server can, so that an
    /// order by bytes has to be asked for.
    fn initialise(&self, folder: &Path) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&self.data).unwrap();
        if self.programs.as_postgres {
            chown(&self.data, Some(uid_of_postgres()), None).unwrap();
        }
        let initdb = |provider: &[&str]| {
            let mut command = self.programs.command("initdb");
            command.arg("-D").arg(&self.data).args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ]);
            run(command.arg("--locale=C.UTF-8").args(provider))
        };
        initdb(&["--locale-provider=icu", "--icu-locale=en-US"])
            .or_else(|_| initdb(&[]))
            .unwrap();
    }

    /// Another program may take a port that was free a moment ago, so this tries more than one.
    fn first_launch(&mut self, settings: &[&str]) {
        let mut outcome = Ok(());
        for _ in 0..3 {
            self.port = free_port();
            self.configure(settings).unwrap();
            outcome = self.launch();
            if outcome.is_ok() {
                break;
            }
        }
        outcome.unwrap();
    }

    fn configure(&self, settings: &[&str]) -> io::Result<()> {
        let port = format!("port = {}", self.port);
        let sockets = format!("unix_socket_directories = '{}'", self.data.display());
        let lines = [
            &["listen_addresses = '127.0.0.1'", &port, &sockets],
            settings,
        ]
        .concat();
        fs::write(
            self.data.join("postgresql.auto.conf"),
            lines.join("\n") + "\n",
        )
    }

    fn launch(&self) -> Result<(), String> {
        let log = self.data.join("log");
        let outcome = self.pg_ctl(&["start", "-l", log.to_str().unwrap()]);
        outcome.map_err(|error| format!("{error}\n{}", fs::read_to_string(log).unwrap_or_default()))
    }

    fn pg_ctl(&self, args: &[&str]) -> Result<(), String> {
        run(self
            .programs
            .command("pg_ctl")
            .arg("-D")
            .arg(&self.data)
            .args(args))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Waiting closes the pipe first.
        let _ = self.watchdog.wait();
    }
}

/// The server's own programs. They refuse to run as root: then they run as the user `postgres`.
struct Programs {
    bin: PathBuf,
    as_postgres: bool,
}

impl Programs {
    /// The command line of a program, without its arguments.
    fn line(&self, program: &str) -> Vec<PathBuf> {
        let switch = if self.as_postgres {
            &["runuser", "-u", "postgres", "--"][..]
        } else {
            &[]
        };
        switch
            .iter()
            .map(PathBuf::from)
            .chain([self.bin.join(program)])
            .collect()
    }

    fn command(&self, program: &str) -> Command {
        let line = self.line(program);
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// In a process group of its own, because Ctrl-C must end the tests and not their watchdog.
    fn watch(&self, folder: &Path, data: &Path) -> io::Result<Child> {
        Command::new("sh")
            .args([
                "-c",
                r#"read -r _; folder=$1; shift; "$@"; rm -rf "$folder""#,
                "watchdog",
            ])
            .arg(folder)
            .args(self.line("pg_ctl"))
            .arg("-D")
            .arg(data)
            .args(["stop", "-m", "immediate"])
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// The folder of the server's programs: of the `initdb` on the PATH, else of the newest that Debian
/// keeps off it.
pub(super) fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .filter_map(|folder| folder.join("initdb").canonicalize().ok())
        .next();
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let with_server = versions.filter(|folder| folder.join("bin/initdb").exists());
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let bin = match on_path {
        Some(initdb) => initdb.parent().map(Path::to_path_buf),
        None => with_server
            .max_by_key(number)
            .map(|folder| folder.join("bin")),
    };
    bin.expect(
        "PostgreSQL is not installed: there is no initdb on the PATH or in /usr/lib/postgresql/*/bin. Run `make \
         setup`, or install the server yourself (Debian and Ubuntu: apt-get install postgresql).",
    )
}

fn uid_of_postgres() -> u32 {
    let output = Command::new("id")
        .args(["-u", "postgres"])
        .output()
        .unwrap();
    let uid = String::from_utf8(output.stdout).unwrap();
    uid.trim()
        .parse()
        .expect("PostgreSQL does not run as root, and there is no user `postgres` to run it as")
}

/// A port below those that outgoing connections use: a client that retries while the server is
/// stopped could otherwise be given the server's port, and even connect to itself.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}
