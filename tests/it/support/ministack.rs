//! Local services of AWS that are not ours, as a process: they show that the clients speak the protocols.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::free_port;

/// It ends when this is dropped.
pub struct Ministack {
    pub endpoint: String,
    process: Child,
}

impl Ministack {
    /// Starts it; whoever calls it waits until it answers.
    pub fn start() -> Ministack {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
        let port = free_port();
        let process = Command::new(&python)
            .args(["-m", "ministack"])
            .env("GATEWAY_PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process =
            process.unwrap_or_else(|error| panic!("{python:?} (see make setup): {error}"));
        Ministack {
            endpoint: format!("http://127.0.0.1:{port}"),
            process,
        }
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
