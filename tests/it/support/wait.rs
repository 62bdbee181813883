//! Waiting for what must come.

use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with `what` after so many seconds.
pub async fn wait_until(what: &str, seconds: u64, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !condition().await {
        assert!(Instant::now() < end, "after {seconds} s still not: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
