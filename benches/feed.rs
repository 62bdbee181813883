//! Writes the bodies of a generated feed, one a line: what the benchmark sends through the queue.
//!
//! Of the events, some 70 % are clicks, 20 % impressions and 10 % conversions, of which one half is adjusted once; 1 % come
//! a second time, some two thousand events later. The same arguments give the same bodies.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Write};

use clap::Parser;
use hydrant::demo::feed::{Event, Mix, endless};
use hydrant::demo::publication::body;

/// How many events are waiting to come again: at 1 % of all, each waits for a hundred times as many events.
const WAITING: usize = 20;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 1_000)]
    messages: usize,
    #[arg(long, default_value_t = 100)]
    events_per_message: usize,
    /// When the feed begins, in seconds since 1970
    #[arg(long)]
    first_second: i64,
    /// Events of a day, about
    #[arg(long, default_value_t = 50_000)]
    events_per_day: i64,
    /// Only adjustments, one to four of each record
    #[arg(long)]
    only_adjustments: bool,
    /// Given by cargo bench
    #[arg(long)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mix = Mix {
        first_second: args.first_second,
        pause: 0..2 * 86_400 / args.events_per_day,
        impressions: 190,
        clicks: 698,
        adjustments: if args.only_adjustments { 1..=4 } else { 1..=1 },
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut again = VecDeque::new();
    let mut networks: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    let wanted = |event: &Event| event.is_adjustment || !args.only_adjustments;
    let mut bodies = 0;
    for (position, event) in endless(args.seed, mix).filter(wanted).enumerate() {
        if position % 100 == 0 {
            again.push_back(event.clone());
        }
        let repeated = (again.len() > WAITING).then(|| again.pop_front()).flatten();
        for event in [Some(event), repeated].into_iter().flatten() {
            let events = networks.entry(event.network_id).or_default();
            events.push(event);
            if events.len() >= args.events_per_message {
                let dispatched = Mix::DEMO.first_second + bodies;
                writeln!(out, "{}", body(events, bodies, dispatched))?;
                events.clear();
                bodies += 1;
                if bodies as usize == args.messages {
                    return out.flush();
                }
            }
        }
    }
    Ok(())
}
