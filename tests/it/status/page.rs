//! The page in a browser.

use serde_json::json;

use super::*;
use crate::support::browser::Browser;
use crate::support::{Postgres, Stop};

/// Where it is, for a browser.
fn address(daemon: &Daemon) -> String {
    format!("http://127.0.0.1:{}/", daemon.port())
}

async fn until_shown(browser: &Browser, selector: &str, text: &str, seconds: u64) {
    wait_until(&format!("{selector} shows {text}"), seconds, async || {
        browser.text(selector).await.contains(text)
    })
    .await;
}

/// Names that assistive software tells, of what has this role.
async fn names(browser: &Browser, role: &str) -> Vec<String> {
    let tree = browser
        .devtools("Accessibility.getFullAXTree", json!({}))
        .await;
    let nodes = tree["nodes"].as_array().unwrap().iter();
    nodes
        .filter(|node| node["role"]["value"] == role)
        .map(|node| {
            node["name"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_happens_and_an_outage_and_its_end() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let browser = Browser::start().await;
    browser.open(&address(&daemon)).await;
    until_shown(&browser, "#word", "All is well", 30).await;
    until_shown(&browser, "#quarantine", "Nothing is in quarantine", 30).await;
    until_shown(
        &browser,
        "#database",
        "every adjustment has its original",
        30,
    )
    .await;
    assert!(browser.text("#sources tbody").await.contains("one"));

    // It goes on by itself.
    queue.send(&bodies()).await;
    queue.drained(60).await;
    until_shown(&browser, "#outcomes", "stored\n1\n", 30).await;
    until_shown(&browser, "#quarantine", "event_id is missing", 60).await;
    assert!(
        browser
            .text("#quarantine")
            .await
            .contains("hydrant quarantine show")
    );

    // What comes while the database is away is not stored, and the page says so.
    postgres.stop(Stop::Fast);
    queue
        .send(&[body(&envelope(&format!("[{}]", conversion("2"))))])
        .await;
    until_shown(
        &browser,
        "#word",
        "Paused: the database cannot be written",
        60,
    )
    .await;
    until_shown(&browser, "#database", "no answer", 60).await;
    let state = browser.run("return document.body.dataset.state").await;
    assert_eq!(state, "paused");
    postgres.start_again();
    until_shown(&browser, "#word", "All is well", 60).await;
    queue.drained(60).await;
    until_shown(&browser, "#outcomes", "stored\n2\n", 30).await;
    assert_eq!(browser.console().await, Vec::<String>::new());

    let resources = browser
        .run("return performance.getEntriesByType('resource').map(it => new URL(it.name).pathname)")
        .await;
    let resources = resources.as_array().unwrap().iter();
    let asked: BTreeSet<_> = resources.filter_map(Value::as_str).collect();
    assert_eq!(asked, BTreeSet::from(["/status.json"]));

    daemon.kill();
    until_shown(&browser, "#word", "Hydrant does not answer", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_read_it() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.send(&bodies()).await;
    queue.drained(60).await;
    let browser = Browser::start().await;
    browser.open(&address(&daemon)).await;
    until_shown(&browser, "#word", "All is well", 30).await;
    until_shown(&browser, "#quarantine", "event_id is missing", 60).await;

    // By ear: every plot has a name and tells in words what it shows; tables and headings have theirs.
    let plots = ["Events a second", "Lag", "Transaction time"]
        .map(|it| format!("{it}, the last 5 minutes"));
    assert_eq!(names(&browser, "slider").await, plots);
    assert_eq!(names(&browser, "table").await.len(), 2);
    let headings = names(&browser, "heading").await;
    assert!(headings.contains(&"All is well".to_owned()), "{headings:?}");
    for plot in ["events", "lag", "transactions"] {
        let words = browser.text(&format!("#{plot}-summary")).await;
        assert!(words.starts_with("one: "), "{plot}: {words}");
    }
    let unnamed = browser
        .run("return [...document.querySelectorAll('a, button, input')].filter(it => !it.innerText).length")
        .await;
    assert_eq!(unnamed, 0);

    // By keyboard: Tab comes to a plot, the arrows go through its minutes.
    browser.press("\u{e004}").await;
    let focused = || browser.run("return document.activeElement.getAttribute('aria-valuetext')");
    let first = focused().await;
    assert!(first.is_string(), "{first}");
    browser.press("\u{e012}").await;
    let second = focused().await;
    assert_ne!(first, second);
    let seen = browser.text("#events .now").await;
    assert_eq!(second.as_str().unwrap(), seen);
    browser.press("\u{e00c}").await;
    until_shown(&browser, "#events .now", "in the last half a minute", 10).await;

    // On a phone nothing stands out to the right, in either theme, and the themes differ.
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
    browser
        .devtools("Emulation.setDeviceMetricsOverride", phone)
        .await;
    let mut grounds = BTreeSet::new();
    for theme in ["light", "dark"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        browser.devtools("Emulation.setEmulatedMedia", media).await;
        let width = browser
            .run("return document.documentElement.scrollWidth")
            .await;
        assert_eq!(width, 360, "{theme}");
        let ground = browser
            .run("return getComputedStyle(document.body).backgroundColor")
            .await;
        grounds.insert(ground.to_string());
    }
    assert_eq!(grounds.len(), 2, "{grounds:?}");
    assert_eq!(browser.console().await, Vec::<String>::new());
}
