//! The status page: one document that asks for nothing but `/status.json`.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: [&str; 2] = [include_str!("page/plot.js"), include_str!("page/page.js")];

/// The page, and what a browser may do with it.
struct Page {
    text: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = SCRIPT.concat();
    // A browser runs no script and takes no style but these, whatever gets into the page.
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; style-src '{}'; script-src '{}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(&script)
    );
    let text = FRAME
        .replace("/* page.css */", STYLE)
        .replace("/* page.js */", &script);
    Page { text, policy }
});

/// As a policy names what it lets in.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

pub async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE.policy.as_str()),
    ];
    (headers, PAGE.text.as_str())
}
