//! A real Chromium without a window, driven by the WebDriver protocol over plain HTTP.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{free_port, wait_until};

/// It asks nobody but the page's server, and leaves nothing behind.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Browser {
        let (chromium, chromedriver) = programs();
        let (port, profile) = (free_port(), tempfile::tempdir().unwrap());
        let driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Browser {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        wait_until("chromedriver answers", 30, async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let mut arguments = ARGUMENTS.to_vec();
        arguments.push(&folder);
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.call("POST", "/session", &capabilities).await;
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    pub async fn open(&self, url: &str) {
        self.command("/url", json!({"url": url})).await;
    }

    /// What a function with this body returns in the page.
    pub async fn run(&self, body: &str) -> Value {
        self.command("/execute/sync", json!({"script": body, "args": []}))
            .await
    }

    /// The text that people see of the first element that this selector finds; nothing where there is none.
    pub async fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
        self.run(&script).await.as_str().unwrap().to_owned()
    }

    /// Presses and releases a key.
    pub async fn press(&self, key: &str) {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]});
        self.command("/actions", actions).await;
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let call = json!({"cmd": command, "params": parameters});
        self.command("/goog/cdp/execute", call).await
    }

    /// What the page wrote to its console since the last time, refusals of its policy included.
    pub async fn console(&self) -> Vec<String> {
        let lines = self.command("/se/log", json!({"type": "browser"})).await;
        let lines = lines.as_array().unwrap().iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call("POST", &path, &body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // It says that it closes the connection, and does not.
        let mut stream = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }
}

impl Drop for Browser {
    /// The driver ends its browser with the session, and not when it is ended itself.
    fn drop(&mut self) {
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
            self.session
        );
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read(&mut [0; 1]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Chromium and its driver.
fn programs() -> (PathBuf, PathBuf) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |names: &[&str]| {
        let folders = std::env::split_paths(&path);
        let mut files = folders.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        files.find(|file| file.is_file())
    };
    let found = (
        find(&["chromium", "chromium-browser", "google-chrome"]),
        find(&["chromedriver"]),
    );
    let (Some(chromium), Some(driver)) = found else {
        panic!(
            "Chromium is not installed: there is no chromium or no chromedriver on the PATH. Run `make setup`, or install \
             both yourself (Debian: apt-get install chromium chromium-driver)."
        );
    };
    (chromium, driver)
}
