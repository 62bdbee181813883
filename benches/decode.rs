//! Decoding alone, on one core: from the text of a message to rows in Postgres' binary form.
//!
//! Reads bodies from standard input, one a line, takes them in again and again for some seconds, and writes what that came
//! to as one JSON object.

use std::io;
use std::time::{Duration, Instant};

use clap::Parser;
use hydrant::formats::Refusal;
use hydrant::formats::body;
use hydrant::formats::hasoffers::Body;
use hydrant::store::batch::Batch;
use serde_json::json;

/// The defaults of `batch_events`, `batch_bytes` and `max_body_bytes`.
const BATCH_EVENTS: usize = 5_000;
const BATCH_BYTES: usize = 8 << 20;
const MAX_BODY_BYTES: usize = 64 << 20;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Given by cargo bench
    #[arg(long)]
    bench: bool,
}

#[derive(Default)]
struct Counts {
    bodies: usize,
    json_bytes: usize,
    events: usize,
    /// Base64 and gzip.
    opening: Duration,
    /// Making sure that it is JSON, and finding the events.
    finding: Duration,
    /// Understanding each event and encoding its row.
    reading: Duration,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let bodies: Vec<String> = io::stdin().lines().collect::<Result<_, _>>()?;
    anyhow::ensure!(!bodies.is_empty(), "there are no bodies on standard input");
    let mut batch = Batch::new(BATCH_EVENTS, BATCH_BYTES);
    let mut counts = Counts::default();
    // Once without being counted: memory is asked for and caches are filled.
    for body in &bodies {
        decode(body, &mut batch, &mut counts)?;
    }
    counts = Counts::default();
    let started = Instant::now();
    let time = Duration::from_secs_f64(args.seconds);
    for body in bodies.iter().cycle() {
        decode(body, &mut batch, &mut counts)?;
        if started.elapsed() >= time {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = |count: usize| count as f64 / seconds;
    let us_per_event = |time: Duration| time.as_secs_f64() * 1e6 / counts.events as f64;
    println!(
        "{}",
        json!({
            "bodies_per_s": rate(counts.bodies),
            "json_mb_per_s": rate(counts.json_bytes) / 1e6,
            "events_per_s": rate(counts.events),
            "us_per_event": seconds * 1e6 / counts.events as f64,
            "opening_us_per_event": us_per_event(counts.opening),
            "finding_us_per_event": us_per_event(counts.finding),
            "reading_us_per_event": us_per_event(counts.reading),
            "json_bytes_per_event": counts.json_bytes as f64 / counts.events as f64,
        })
    );
    Ok(())
}

fn decode(text: &str, batch: &mut Batch, counts: &mut Counts) -> anyhow::Result<()> {
    let start = Instant::now();
    let opened = body::open(text.as_bytes(), MAX_BODY_BYTES).map_err(unreadable)?;
    let open = Instant::now();
    let mut body = Body::of(opened, None).map_err(unreadable)?;
    let found = Instant::now();
    while !body.read_into(batch, 0, "") {
        batch.clear();
    }
    counts.opening += open - start;
    counts.finding += found - open;
    counts.reading += found.elapsed();
    anyhow::ensure!(
        body.bad_events == 0,
        "a body holds events that cannot be read"
    );
    counts.bodies += 1;
    counts.json_bytes += body.len();
    counts.events += body.events;
    Ok(())
}

fn unreadable(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("a body cannot be read: {}", refusal.detail)
}
