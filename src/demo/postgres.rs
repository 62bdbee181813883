//! A throw-away PostgreSQL server in a folder of its own.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow, bail};
use tokio::process::Command;

use super::fetch;
use super::folder::Folder;

/// What to do where there is no server to start.
pub const ADVICE: &str = "install it (Debian and Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17), or name a \
     database with --database";

/// Where installations keep the server's programs when these are not on the PATH: Debian's folder, Homebrew's, and the
/// part in front of the version's number.
const INSTALLATIONS: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
];

/// A running server. It ends with its [`Folder`].
pub struct Postgres {
    version: String,
    port: u16,
    programs: PathBuf,
    is_fetched: bool,
    data: PathBuf,
    /// The server refuses to run as root: then it runs as the user `postgres`.
    user: Option<(u32, u32)>,
    /// Of the superuser `postgres`. On a machine with other users anybody can reach the port.
    password: String,
}

impl Postgres {
    /// Makes a cluster in `folder` and starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no PostgreSQL and none can be fetched, or it does not start.
    pub async fn start(folder: &mut Folder) -> anyhow::Result<Postgres> {
        let is_root = folder.path.metadata()?.uid() == 0;
        let user = if is_root {
            Some(user_postgres().await?)
        } else {
            None
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = installed(&path);
        let is_fetched = installed.is_none();
        let mut postgres = Postgres {
            version: String::new(),
            port: 0,
            programs: match installed {
                Some(programs) => programs,
                None => fetch::programs(folder).await?,
            },
            is_fetched,
            data: folder.join("data"),
            user,
            password: format!("{:032x}", rand::random::<u128>()),
        };
        postgres.initialise(folder).await?;
        // Another program may take a port that was free a moment ago.
        for attempt in 1.. {
            postgres.port = free_port();
            match postgres.launch(folder).await {
                Ok(()) => break,
                Err(_) if attempt < 3 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(postgres)
    }

    pub fn url(&self) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/postgres",
            self.password, self.port
        )
    }

    /// How `psql` is called: by its name alone where that does.
    pub fn psql(&self) -> String {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join("psql").exists()) {
            return "psql".to_owned();
        }
        self.programs.join("psql").display().to_string()
    }

    /// The command of a shell that stops the server.
    pub fn stop_command(&self) -> String {
        let switch = if self.user.is_some() {
            "runuser -u postgres -- "
        } else {
            ""
        };
        format!(
            "{switch}{} -D {} stop",
            self.programs.join("pg_ctl").display(),
            self.data.display()
        )
    }

    async fn initialise(&mut self, folder: &mut Folder) -> anyhow::Result<()> {
        fs::create_dir(&self.data)?;
        let password = folder.join("password");
        fs::write(&password, &self.password)?;
        fs::set_permissions(&password, Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = self.user {
            chown(&self.data, Some(uid), Some(gid))?;
            chown(&password, Some(uid), Some(gid))?;
        }
        let mut initdb = self.command("initdb");
        initdb
            .args([
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&self.data);
        run(initdb, folder).await?;
        fs::remove_file(&password)?;
        self.version = fs::read_to_string(self.data.join("PG_VERSION"))?
            .trim()
            .to_owned();
        Ok(())
    }

    async fn launch(&self, folder: &mut Folder) -> anyhow::Result<()> {
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n",
            self.port,
            self.data.display()
        );
        fs::write(self.data.join("postgresql.auto.conf"), settings)?;
        let log = self.data.join("log");
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl
            .arg("start")
            .arg("-D")
            .arg(&self.data)
            .arg("-l")
            .arg(&log);
        run(pg_ctl, folder)
            .await
            .with_context(|| fs::read_to_string(log).unwrap_or_default())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Which PostgreSQL it is, and where.
impl fmt::Display for Postgres {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let origin = if self.is_fetched {
            "fetched from the network".to_owned()
        } else {
            format!("of {}", self.programs.display())
        };
        write!(
            out,
            "{} {origin}, a throw-away server on 127.0.0.1:{}",
            self.version, self.port
        )
    }
}

/// Runs a program to its end, guarded by the folder's watchdog.
async fn run(mut command: Command, folder: &mut Folder) -> anyhow::Result<()> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    folder.guard(child.id())?;
    let output = child.wait_with_output().await?;
    folder.guard(None)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    bail!("{name} failed ({}): {words}", output.status)
}

/// The folder of the server's programs: of the `initdb` on the PATH, else of the newest version that is installed.
fn installed(path: &OsStr) -> Option<PathBuf> {
    let on_path =
        std::env::split_paths(path).find_map(|folder| folder.join("initdb").canonicalize().ok());
    if let Some(folder) = on_path.as_deref().and_then(Path::parent) {
        return Some(folder.to_path_buf());
    }
    let installed = INSTALLATIONS.iter().flat_map(|(folder, prefix)| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(move |entry| {
            let version: u32 = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
    });
    installed.max().map(|(_, programs)| programs)
}

/// The ids of the user `postgres` and its group.
async fn user_postgres() -> anyhow::Result<(u32, u32)> {
    let mut ids = [0; 2];
    for (id, switch) in ids.iter_mut().zip(["-u", "-g"]) {
        let output = Command::new("id")
            .args([switch, "postgres"])
            .output()
            .await?;
        *id = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| {
            anyhow!(
                "PostgreSQL does not run as root, and there is no user `postgres`: {ADVICE}, or run the demo as another user"
            )
        })?;
    }
    Ok(ids.into())
}

/// A port below those that outgoing connections use: none of these can take it.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
