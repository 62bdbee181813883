//! Switching the rollup on and off while daemons run. Why nothing is lost by it, see [`super`].

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::State;
use super::difference::KEY;
use crate::formats::value::Day;
use crate::store::connection::{Settings, execute, quote_identifier};
use crate::store::fault::{Fault, Why};
use crate::store::partitions::{Leaf, Partitions};

/// Longest wait for a lock. Writers wait behind us meanwhile, so it is short; longer than a vacuum takes to give way (1 s).
const LOCK_TIMEOUT: &str = "2s";
/// Attempts to get hold of what others have, each with a pause behind it: some ten minutes.
const ATTEMPTS: u32 = 200;
/// Parts in which the facts are summed up, at most.
const STEPS: usize = 100;

/// How far the facts are summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    pub days: usize,
    pub of_days: usize,
    /// Rows of `stats_hourly`.
    pub rows: u64,
}

/// Switches it on. `tell` is called now and then; what it was is told at the end, or nothing where it was on already. When
/// it is interrupted, `stats` goes on reading the facts, and calling it again begins afresh.
///
/// # Errors
/// The database does not answer or refuses us, or somebody else is at it.
pub async fn on(
    settings: &Settings,
    mut tell: impl FnMut(Filled),
) -> Result<Option<Filled>, Fault> {
    let mut connection = settings.connect().await?;
    if !clear(&mut connection, settings).await? {
        return Ok(None);
    }
    let mut snapshot = Snapshot::begin(&mut connection, settings).await?;
    let filled = snapshot.fill(&mut tell).await?;
    finish(&mut connection, settings, snapshot.run).await?;
    Ok(Some(filled))
}

/// Switches it off: `stats` reads the facts again, and the sums are removed. Whether it was not off already. Sums of clicks and
/// impressions that were dropped are nowhere else: they are removed only if `forget` says so.
///
/// # Errors
/// The database does not answer or refuses us, or there are such sums.
pub async fn off(settings: &Settings, forget: bool) -> Result<bool, Fault> {
    let mut connection = settings.connect().await?;
    let was_off = patiently(&mut connection, async |connection| {
        begin(connection, settings).await?;
        let (state, _) = lock_state(connection).await?;
        if state == State::On && !forget {
            expect_nothing_dropped(connection).await?;
        }
        let let_read = stats_reading(State::Off);
        let sql = format!("{let_read}; update rollup_state set state = 'off'; commit");
        run(connection, sql).await?;
        Ok(state == State::Off)
    })
    .await?;
    clear(&mut connection, settings).await?;
    Ok(!was_off)
}

async fn expect_nothing_dropped(connection: &mut PgConnection) -> Result<(), Fault> {
    let before: Option<String> =
        sqlx::query_scalar("select before::text from retention_marks where kind = 'events'")
            .fetch_optional(connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
    match before {
        None => Ok(()),
        Some(before) => Err(Fault::down(
            Why::Misconfigured,
            format!(
                "clicks and impressions before {before} were dropped, and only the rollup has their sums: with \
                 --forget-dropped they are removed with it"
            ),
        )),
    }
}

/// Removes the sums and sets the state to off, unless it is on. Whether it was not on. Where it is, `stats` is made to read the
/// sums once more, in case that somebody has changed it.
///
/// A run that is filling has its hands on `stats_hourly`: then this waits in vain, and changes nothing.
async fn clear(connection: &mut PgConnection, settings: &Settings) -> Result<bool, Fault> {
    patiently(connection, async |connection| {
        begin(connection, settings).await?;
        let (state, _) = lock_state(connection).await?;
        let sql = match state {
            State::On => stats_reading(State::On),
            State::Off | State::Filling => "truncate stats_hourly, stats_deltas;
                update rollup_state set state = 'off' where state <> 'off'"
                .to_owned(),
        };
        run(connection, format!("{sql}; commit")).await?;
        Ok(state != State::On)
    })
    .await
}

/// Lets `stats` read the sums, if they are still those of this run.
async fn finish(
    connection: &mut PgConnection,
    settings: &Settings,
    run_: i64,
) -> Result<(), Fault> {
    patiently(connection, async |connection| {
        begin(connection, settings).await?;
        if lock_state(connection).await? != (State::Filling, run_) {
            return Err(somebody_else());
        }
        let let_read = stats_reading(State::On);
        let sql = format!("{let_read}; update rollup_state set state = 'on'; commit");
        run(connection, sql).await
    })
    .await
}

/// The facts as they were when the state was set to filling.
struct Snapshot {
    connection: PgConnection,
    days: Vec<Day>,
    /// The number of this filling.
    run: i64,
}

impl Snapshot {
    /// Locks out writers, takes the snapshot, sets the state, and lets them on.
    async fn begin(connection: &mut PgConnection, settings: &Settings) -> Result<Snapshot, Fault> {
        patiently(connection, async |connection| {
            begin(connection, settings).await?;
            let partitions = lock_facts(connection, settings).await?;
            if lock_state(connection).await?.0 != State::Off {
                return Err(somebody_else());
            }
            // Of writers that had read the state before it was switched off.
            run(connection, "delete from stats_deltas".to_owned()).await?;
            let reader = snapshot(settings).await?;
            let run_: i64 = sqlx::query_scalar(
                "update rollup_state set state = 'filling', run = run + 1 returning run",
            )
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
            run(connection, "select 1; commit".to_owned()).await?;
            Ok(Snapshot {
                connection: reader,
                days: partitions.days().collect(),
                run: run_,
            })
        })
        .await
    }

    /// Sums the facts up, a few days at a time, all in one transaction.
    async fn fill(&mut self, tell: &mut impl FnMut(Filled)) -> Result<Filled, Fault> {
        let days = self.all_days().await?;
        let mut filled = Filled {
            of_days: days.len(),
            ..Filled::default()
        };
        tell(filled);
        for some in days.chunks(days.len().div_ceil(STEPS).max(1)) {
            let done = sqlx::query(AssertSqlSafe(filling(some)))
                .execute(&mut self.connection)
                .await
                .map_err(|error| Fault::new(error, "could not sum the facts up"))?;
            filled.rows += done.rows_affected();
            filled.days += some.len();
            tell(filled);
        }
        run(&mut self.connection, "select 1; commit".to_owned()).await?;
        // A table that has just been filled is planned as if it were empty.
        run(&mut self.connection, "analyze stats_hourly".to_owned()).await?;
        Ok(filled)
    }

    /// The days that there are facts of, sorted.
    async fn all_days(&mut self) -> Result<Vec<Day>, Fault> {
        let elsewhere: Vec<i32> = sqlx::query_scalar(
            "select partition_day - date '2000-01-01' from events_default
             union select event_day - date '2000-01-01' from events_conversions
             union select event_day - date '2000-01-01' from adjustments",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the days of the facts"))?;
        let own = self.days.iter().copied();
        let days: BTreeSet<Day> = own.chain(elsewhere.into_iter().map(Day)).collect();
        Ok(days.into_iter().collect())
    }
}

/// Locks all tables of facts against writers, in the order in which these use them, so that no two wait for each other. With
/// `events` itself locked no partition comes or goes.
async fn lock_facts(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<Partitions, Fault> {
    const MODE: &str = "in share row exclusive mode";
    run(connection, format!("lock table only events {MODE}")).await?;
    let mut partitions = Partitions::new(settings.partition_by);
    partitions.load(connection, settings).await?;
    let days = partitions.days().map(Leaf::Day);
    let leaves = std::iter::once(Leaf::Conversions)
        .chain(days)
        .chain([Leaf::Default]);
    let tables: Vec<String> = leaves.map(Leaf::table).collect();
    let sql = format!("lock table {}, adjustments {MODE}", tables.join(", "));
    run(connection, sql).await?;
    Ok(partitions)
}

/// A session whose transaction sees the facts as they are now. By its lock on `stats_hourly` nobody clears what it fills.
async fn snapshot(settings: &Settings) -> Result<PgConnection, Fault> {
    let mut connection = settings.connect().await?;
    let sql = format!(
        "set search_path to {};
         set statement_timeout = 0;
         set idle_in_transaction_session_timeout = 0;
         set jit = off;
         set work_mem = '64MB';
         begin isolation level repeatable read;
         lock table stats_hourly in row exclusive mode;
         select 1",
        quote_identifier(&settings.schema)
    );
    run(&mut connection, sql).await?;
    Ok(connection)
}

/// Groups of different days are different, so no two of these statements meet. In the order of the key, which is what its
/// index likes.
fn filling(days: &[Day]) -> String {
    format!(
        "insert into stats_hourly ({KEY}, facts, num, payout, revenue, sale_amount)
         select {KEY}, sum(facts), sum(num), sum(payout), sum(revenue), sum(sale_amount)
         from stats_facts where date between '{first}' and '{last}'
         group by {KEY} order by {KEY}",
        first = days[0],
        last = days[days.len() - 1],
    )
}

/// The view `stats` as it is in a state. Groups of which no fact is left are not in the facts, either.
fn stats_reading(state: State) -> String {
    let (source, having) = match state {
        State::Off | State::Filling => ("stats_facts", ""),
        State::On => ("stats_rollup", "having sum(facts) <> 0"),
    };
    format!(
        "create or replace view stats as
         select
             network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency,
             coalesce(sum(num) filter (where action = 'impression'), 0) as impressions,
             coalesce(sum(num) filter (where action = 'click'), 0) as clicks,
             coalesce(sum(num) filter (where action = 'conversion'), 0) as conversions,
             sum(payout) as payout, sum(revenue) as revenue, sum(sale_amount) as sale_amount
         from {source}
         group by network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency
         {having}"
    )
}

const DOING: &str = "could not switch the rollup";

pub(super) async fn run(connection: &mut PgConnection, sql: String) -> Result<(), Fault> {
    execute(connection, sql)
        .await
        .map_err(|error| Fault::new(error, DOING))
}

pub(super) async fn begin(connection: &mut PgConnection, settings: &Settings) -> Result<(), Fault> {
    let sql = format!(
        "begin isolation level read committed;
         set local search_path to {};
         set local lock_timeout = '{LOCK_TIMEOUT}';
         set local statement_timeout = 0",
        quote_identifier(&settings.schema)
    );
    run(connection, sql).await
}

/// The state and the number of the last filling. Nobody else switches or merges until the transaction ends.
pub(super) async fn lock_state(connection: &mut PgConnection) -> Result<(State, i64), Fault> {
    let row = sqlx::query("select state, run from rollup_state for update")
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
    Ok((State::read(row.get(0)), row.get(1)))
}

/// Runs a transaction; again where others have what it needs.
pub(super) async fn patiently<T>(
    connection: &mut PgConnection,
    transaction: impl AsyncFn(&mut PgConnection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut attempt = 1;
    loop {
        let fault = match transaction(connection).await {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        run(connection, "rollback".to_owned()).await?;
        if !matches!(fault, Fault::Contention(_)) || attempt == ATTEMPTS {
            return Err(fault);
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(rand::random_range(200..2_000))).await;
    }
}

fn somebody_else() -> Fault {
    Fault::down(
        Why::Unavailable,
        "somebody else is switching the rollup: see what became of it, and try again",
    )
}
