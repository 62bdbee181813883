//! Whatever the order, the batches, the number of writers and their deaths: the same facts come to the same state.
//!
//! Random histories go through the real decoder and the real store into a real Postgres, and every table and view is
//! compared with an oracle. A seed is printed; `HYDRANT_TEST_SEED` repeats its histories.

mod history;
mod oracle;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant::config::PartitionBy;
use hydrant::store::batch::Batch;
use hydrant::store::fault::Fault;
use hydrant::store::migrate::migrate;
use hydrant::store::rollup::merge::merge;
use hydrant::store::rollup::switch;
use hydrant::store::verify::checks::CHECKS;
use hydrant::store::verify::{Scope, Snapshot};
use hydrant::store::{Claims, Settings, Store};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use self::history::{Delivery, history};
use self::oracle::{Row, Rows, State, line, patches_of, state_after};
use crate::support::store::{date, deliver, settings};
use crate::support::{Database, Postgres};
use crate::{rollup, verify};

/// Histories that are under way at the same time, in the same tables: they meet in batches and in locks.
const TOGETHER: usize = 10;
const ROUNDS: usize = 12;
/// A day too old for a partition.
const TOO_OLD: &str = "2019-02-28";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_converges_with_days() {
    converge(PartitionBy::Day).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_converges_without_days() {
    converge(PartitionBy::None).await;
}

async fn converge(partition_by: PartitionBy) {
    let seed = std::env::var("HYDRANT_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("HYDRANT_TEST_SEED={seed}");
    let postgres = Postgres::start_with(&["fsync = off", "deadlock_timeout = '100ms'"]);
    let database = postgres.database().await;
    let settings = settings(&database, partition_by);
    migrate(&settings).await.unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let (cuts, snapshots) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..ROUNDS {
        // Days that have no partition yet, so that writers make them at the same time.
        let ago = -(round as i32 * 2);
        let days = [
            date(&database, ago).await,
            date(&database, ago - 1).await,
            TOO_OLD.to_owned(),
        ];
        let mut deliveries = Vec::new();
        for n in 0..TOGETHER {
            deliveries.extend(history(random.random(), &format!("h{round}-{n}"), &days));
        }
        deliveries.shuffle(&mut random);
        let work = Arc::new(Mutex::new(batches(&deliveries, &mut random)));
        let prefix = format!("h{round}-");
        let done = AtomicBool::new(false);
        // The rollup is switched in the middle of it, and stays on for a while.
        let pause = Duration::from_millis(random.random_range(0..300));
        let writers = async {
            // Some are workers of one process, the others processes of their own.
            let claims = Arc::new(Claims::default());
            let writers: Vec<_> = (0..random.random_range(4..=8))
                .map(|_| {
                    let store = match random.random_bool(0.5) {
                        true => Store::beside(settings.clone(), Arc::clone(&claims)),
                        false => Store::new(settings.clone()),
                    };
                    tokio::spawn(writer(store, Arc::clone(&work), random.random()))
                })
                .collect();
            for writer in writers {
                cuts.fetch_add(writer.await.unwrap(), Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        };
        let switcher = async {
            tokio::time::sleep(pause).await;
            match round % 4 {
                1 => rollup::on(&settings).await,
                3 => assert!(switch::off(&settings, false).await.unwrap()),
                _ => {}
            }
        };
        let watcher = async {
            while !done.load(Ordering::Relaxed) {
                expect_folded_ledgers(&database, &prefix).await;
                expect_equal_sums(&settings).await;
                rollup::expect_right(&database, &format!("in the middle of {prefix}")).await;
                snapshots.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(writers, watcher, switcher, keep_merging(&settings, &done));
        let expected = state_after(
            &deliveries.iter().collect::<Vec<_>>(),
            partition_by,
            TOO_OLD,
        );
        expect_same(&state(&database, &prefix).await, &expected, seed, round);
    }
    // What the oracle does not know: hashes, and the daemon's own fold.
    let (found, _) = verify::failing(&database);
    let by_design = |number: &String| match number.as_str() {
        "V5" | "V7" | "V8" | "V9" => true,
        // One id with two days counts twice where each has its table.
        "V13" => partition_by == PartitionBy::Day,
        _ => false,
    };
    assert!(found.iter().all(by_design), "seed {seed}: {found:?}");
    let (cuts, snapshots) = (cuts.into_inner(), snapshots.into_inner());
    println!(
        "{} histories, {cuts} connections cut, {snapshots} snapshots",
        ROUNDS * TOGETHER
    );
    assert!(
        cuts > 0 && snapshots > 0,
        "nothing was tried: {cuts} cuts, {snapshots} snapshots"
    );
    let log = std::fs::read_to_string(postgres.data.join("log")).unwrap();
    assert!(!log.contains("deadlock detected"), "seed {seed}: {log}");
}

/// The deliveries in batches of 1 to 20.
fn batches(deliveries: &[Delivery], random: &mut StdRng) -> VecDeque<Batch> {
    let mut batches = VecDeque::new();
    let mut rest = deliveries;
    while !rest.is_empty() {
        let (some, others) = rest.split_at(random.random_range(1..=20).min(rest.len()));
        let mut batch = Batch::new(usize::MAX, usize::MAX);
        for delivery in some {
            deliver(&delivery.envelope, &mut batch);
        }
        assert_eq!(
            (batch.facts().len(), batch.rejects().len()),
            (some.len(), 0)
        );
        batches.push_back(batch);
        rest = others;
    }
    batches
}

/// Writes batches until there are none. Now and then its connection is cut, anywhere: then the batch is written again.
/// How often that was.
async fn writer(mut store: Store, work: Arc<Mutex<VecDeque<Batch>>>, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut cuts = 0;
    loop {
        let Some(batch) = work.lock().unwrap().pop_front() else {
            store.close().await;
            return cuts;
        };
        loop {
            let cut = random
                .random_bool(0.2)
                .then(|| Duration::from_micros(random.random_range(0..20_000)));
            let outcome =
                tokio::time::timeout(cut.unwrap_or(Duration::MAX), store.write("test", &batch))
                    .await;
            match outcome {
                Ok(Ok(written)) => {
                    assert_eq!(written.refused, []);
                    break;
                }
                Ok(Err(Fault::Race(_) | Fault::Contention(_))) => {}
                Ok(Err(fault)) => panic!("{fault}"),
                Err(_) => {
                    store.disconnect();
                    cuts += 1;
                }
            }
        }
    }
}

/// Merges what the writers append, while they do.
async fn keep_merging(settings: &Settings, done: &AtomicBool) {
    let mut connection = settings.connect().await.unwrap();
    while !done.load(Ordering::Relaxed) {
        merge(&mut connection, settings).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// In any snapshot the patches are the fold of the ledgers.
async fn expect_folded_ledgers(database: &Database, prefix: &str) {
    let adjustments = rows_sql("adjustments", FACT, prefix);
    let patches = rows_sql("record_patches", PATCH, prefix);
    let both = format!(
        "select 'a' || j from ({adjustments}) a (j) union all select 'p' || j from ({patches}) p (j)"
    );
    let rows = database.rows(&both).await;
    let of = |kind| {
        rows.iter()
            .filter_map(move |row| row.strip_prefix(kind))
            .map(parse)
    };
    let ledger: Vec<Row> = of('a').collect();
    let stored: Rows = of('p').map(|row| line(&row)).collect();
    let folded: Rows = patches_of(&ledger).values().map(line).collect();
    assert_eq!(
        difference(&stored, &folded),
        "",
        "in the middle of {prefix}"
    );
}

/// And the current state adds up to the facts, to the last decimal.
async fn expect_equal_sums(settings: &Settings) {
    let mut snapshot = Snapshot::take(settings, Scope::All).await.unwrap();
    for check in CHECKS
        .iter()
        .filter(|check| ["V3", "V4"].contains(&check.number))
    {
        let found = snapshot.run(check, &|_| {}).await.unwrap();
        assert_eq!(found, [], "{}", check.number);
    }
    snapshot.close().await;
}

const FACT: &str = "to_jsonb(t) - 'received_at'";
const PATCH: &str = "to_jsonb(t) - 'revision'
    || jsonb_build_object('last_adjusted_at', extract(epoch from last_adjusted_at)::bigint)";
const IDS: &str = "jsonb_build_object('network_id', network_id, 'event_id', event_id)";
const CURRENT: &str = "jsonb_build_object('network_id', network_id, 'event_id', event_id, 'record_id', record_id,
    'net_num', net_num, 'net_payout', net_payout, 'net_revenue', net_revenue, 'net_sale_amount', net_sale_amount,
    'payout', payout, 'revenue', revenue, 'status', status, 'status_code', status_code,
    'current_payout', current_payout, 'current_revenue', current_revenue, 'ip', ip, 'session_ip', session_ip,
    'session_datetime', session_datetime, 'user_agent', user_agent, 'refer', refer, 'pixel_refer', pixel_refer,
    'note', note)";
const SUMS: &str = "(select to_jsonb(s) from (select t.network_id, t.date, t.clicks, t.conversions, t.payout, t.revenue,
    t.sale_amount) s)";
const STATS: &str = "(select network_id, date, sum(clicks) clicks, sum(conversions) conversions, sum(payout) payout,
    sum(revenue) revenue, sum(sale_amount) sale_amount from stats group by network_id, date
    having (sum(clicks), sum(conversions), sum(payout), sum(revenue), sum(sale_amount)) <> (0, 0, 0, 0, 0))";

fn rows_sql(relation: &str, json: &str, prefix: &str) -> String {
    format!(
        "select jsonb_strip_nulls({json})::text from {relation} t where network_id like '{prefix}%'"
    )
}

/// A row whose whole numbers have no fraction: a sum keeps the places of what was summed.
fn parse(row: &str) -> Row {
    let mut row: Row = serde_json::from_str(row).unwrap();
    for value in row.values_mut() {
        if let Some(number) = value.as_f64().filter(|number| number.fract() == 0.0) {
            *value = (number as i64).into();
        }
    }
    row
}

/// What the database has of a round.
async fn state(database: &Database, prefix: &str) -> State {
    let rows = async |relation: &str, json: &str| -> Rows {
        let found = database.rows(&rows_sql(relation, json, prefix)).await;
        let rows: Rows = found.iter().map(|row| line(&parse(row))).collect();
        assert_eq!(rows.len(), found.len(), "{relation} has rows twice");
        rows
    };
    State {
        events: rows("events", FACT).await,
        adjustments: rows("adjustments", FACT).await,
        event_variants: rows("event_variants", FACT).await,
        record_patches: rows("record_patches", PATCH).await,
        conversions: rows("conversions", CURRENT).await,
        duplicate_originals: rows("duplicate_originals", IDS).await,
        orphan_adjustments: rows("orphan_adjustments", IDS).await,
        stats: rows(STATS, SUMS).await,
    }
}

fn expect_same(found: &State, expected: &State, seed: u64, round: usize) {
    for (name, found, expected) in [
        ("events", &found.events, &expected.events),
        ("adjustments", &found.adjustments, &expected.adjustments),
        (
            "event_variants",
            &found.event_variants,
            &expected.event_variants,
        ),
        (
            "record_patches",
            &found.record_patches,
            &expected.record_patches,
        ),
        ("conversions", &found.conversions, &expected.conversions),
        (
            "duplicate_originals",
            &found.duplicate_originals,
            &expected.duplicate_originals,
        ),
        (
            "orphan_adjustments",
            &found.orphan_adjustments,
            &expected.orphan_adjustments,
        ),
        ("stats", &found.stats, &expected.stats),
    ] {
        assert!(!expected.is_empty(), "the histories leave {name} empty");
        assert_eq!(
            difference(found, expected),
            "",
            "{name} after round {round} of seed {seed}"
        );
    }
}

/// The first rows that only one of the two has; nothing where they are equal.
fn difference(found: &Rows, expected: &Rows) -> String {
    let only = |these: &Rows, those: &Rows, sign: &str| -> String {
        these
            .difference(those)
            .take(3)
            .map(|row| format!("\n{sign} {row}"))
            .collect()
    };
    only(found, expected, "found") + &only(expected, found, "expected")
}
