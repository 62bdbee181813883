//! A folder that goes away with the process, however that ends, and takes along what runs in it.
//!
//! A killed process runs no destructor. So a watchdog, a shell, waits for the end of its standard input. The other end of
//! that pipe is held by this process alone: it closes with the [`Folder`] or with the process, whichever goes first. The
//! watchdog then kills the child that it was told of last, stops the PostgreSQL server in `data` and removes the folder.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// The lines that it reads are the process id of a child, an empty one for none, or `keep`. What it cannot stop in ten
/// seconds it leaves.
const WATCHDOG: &str = r#"
child=
while read -r line; do
    [ "$line" != keep ] || exit 0
    child=$line
done
[ -z "$child" ] || kill -KILL "$child"
lock=$1/data/postmaster.pid
if server=$(head -n 1 "$lock") && kill -INT "$server"; then
    tries=100
    while [ -e "$lock" ] && kill -0 "$server" && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
fi
tries=100
until rm -rf "$1" || [ $((tries -= 1)) -le 0 ]; do sleep 0.1; done
"#;

/// A new folder under the system's one for temporary files. Others may pass through it, but not list it.
pub struct Folder {
    pub path: PathBuf,
    watchdog: Child,
}

impl Folder {
    /// # Errors
    /// The folder cannot be made, or there is no shell.
    pub fn create() -> anyhow::Result<Folder> {
        let name = format!("hydrant-demo-{:08x}", rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        // In a process group of its own: Ctrl-C must end this process and not its watchdog.
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the shell `sh`, which cleans up")?;
        Ok(Folder { path, watchdog })
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Has this child killed when the folder goes; only the last one that was named.
    ///
    /// # Errors
    /// The watchdog is gone.
    pub fn guard(&mut self, child: Option<u32>) -> anyhow::Result<()> {
        self.tell(&child.map(|id| id.to_string()).unwrap_or_default())
    }

    /// Leaves the folder and what runs in it to the user.
    ///
    /// # Errors
    /// The watchdog is gone.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        self.tell("keep")
    }

    fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let pipe = self
            .watchdog
            .stdin
            .as_mut()
            .context("the watchdog has no input")?;
        writeln!(pipe, "{line}").context("the shell that cleans up is gone")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Waiting closes the pipe first.
        let _ = self.watchdog.wait();
    }
}
