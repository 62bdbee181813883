//! The real binary, run to its end.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Database;

/// How it ended and what it said.
pub struct Finished {
    pub status: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Finished {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
}

/// Runs `hydrant` with nothing of the environment but `variables`.
pub fn run(args: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Finished {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that does not read its input to the end closes the pipe, and that is its right.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Finished {
        status: output.status.code().unwrap(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `hydrant` on a database.
pub fn run_on(database: &Database, args: &[&str]) -> Finished {
    run(args, &[("DATABASE_URL", &database.url)], b"")
}
