//! V2: ledgers and patches in one stream, sorted by record, and each ledger folded again by the function that the daemon
//! folds with. Memory holds one record at a time.

use futures_util::{StreamExt, stream::BoxStream};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::{Finding, Found, PACE, Progress, Scope};
use crate::amount::Amount;
use crate::formats::hasoffers::event::{delta_fields, state_fields};
use crate::formats::hasoffers::fields::Field;
use crate::formats::hasoffers::fold::{Entry, Patch, fold};
use crate::formats::value::{Moment, Type};
use crate::store::connection::quote_literal;
use crate::store::fault::Fault;

const DOING: &str = "could not read the ledgers and patches";
/// 1970-01-01 in seconds since 2000-01-01.
const UNIX_EPOCH: i64 = -946_684_800;

/// (network_id, record_id).
pub type Key = (String, String);

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Differs,
    NoPatch,
    NoLedger,
    ManyPatches,
    /// An amount that hydrant never writes: its ledger cannot be folded.
    NoAmount,
}

impl Wrong {
    fn as_str(self) -> &'static str {
        match self {
            Wrong::Differs => "a patch is not what its ledger comes to",
            Wrong::NoPatch => "a ledger has no patch",
            Wrong::NoLedger => "a patch has no ledger",
            Wrong::ManyPatches => "a record has more than one patch",
            Wrong::NoAmount => "a ledger holds an amount that hydrant never writes",
        }
    }
}

/// A record whose patch is not what its ledger comes to.
#[derive(Debug)]
pub struct Difference {
    pub wrong: Wrong,
    /// The columns that differ.
    pub fields: Vec<&'static str>,
}

/// Everything that the stream has of one record.
#[derive(Debug)]
pub struct Record {
    pub key: Key,
    pub rows: u64,
    ledger: Vec<Entry>,
    patches: Vec<Stored>,
    no_amount: bool,
}

/// A row of `record_patches`, in text as Postgres writes it, amounts without needless zeros.
#[derive(Debug)]
struct Stored {
    adjustment_count: i64,
    last_adjustment_sequence_id: Option<i64>,
    last_adjusted_at: Option<String>,
    sums: Vec<Option<String>>,
    state: Vec<Option<String>>,
}

/// The check.
pub async fn check(
    connection: &mut PgConnection,
    scope: &Scope,
    progress: Progress<'_>,
) -> Result<Vec<Finding>, Fault> {
    let mut found = Found::default();
    let mut records = Records::read(connection, scope, None);
    let (mut rows, mut told) = (0, 0);
    while let Some(record) = records.next().await? {
        rows += record.rows;
        if rows - told >= PACE {
            told = rows;
            progress(rows);
        }
        if let Some(Difference { wrong, fields }) = record.difference() {
            let fields = fields.join(" ");
            let mut example = vec![
                ("network_id", record.key.0.as_str()),
                ("record_id", record.key.1.as_str()),
            ];
            if !fields.is_empty() {
                example.push(("fields", &fields));
            }
            found.add(wrong.as_str(), example);
        }
    }
    Ok(found.list())
}

/// The records of a scope in the order of their keys.
pub struct Records<'c> {
    rows: BoxStream<'c, Result<PgRow, sqlx::Error>>,
    /// The first row of the next record.
    ahead: Option<PgRow>,
}

impl Records<'_> {
    /// `after`: from the first record behind this one on.
    pub fn read<'c>(
        connection: &'c mut PgConnection,
        scope: &Scope,
        after: Option<&Key>,
    ) -> Records<'c> {
        let query = sqlx::query(AssertSqlSafe(sql(scope, after))).persistent(false);
        Records {
            rows: query.fetch(connection),
            ahead: None,
        }
    }

    pub async fn next(&mut self) -> Result<Option<Record>, Fault> {
        let first = match self.ahead.take() {
            Some(row) => row,
            None => match self.row().await? {
                Some(row) => row,
                None => return Ok(None),
            },
        };
        let mut record = Record {
            key: (first.get(0), first.get(1)),
            rows: 0,
            ledger: Vec::new(),
            patches: Vec::new(),
            no_amount: false,
        };
        record.add(&first);
        while let Some(row) = self.row().await? {
            if row.get::<&str, _>(1) != record.key.1 || row.get::<&str, _>(0) != record.key.0 {
                self.ahead = Some(row);
                break;
            }
            record.add(&row);
        }
        Ok(Some(record))
    }

    async fn row(&mut self) -> Result<Option<PgRow>, Fault> {
        let row = self.rows.next().await.transpose();
        row.map_err(|error| Fault::new(error, DOING))
    }
}

/// The columns of both tables that the fold makes, in one order.
fn folded() -> impl Iterator<Item = &'static Field> {
    delta_fields().chain(state_fields()).map(|(_, field)| field)
}

fn sql(scope: &Scope, after: Option<&Key>) -> String {
    let columns = |alias: &str| -> String {
        let text = |field: &Field| match field.kind {
            Type::Amount => format!(", trim_scale({alias}.{})::text", field.name),
            _ => format!(", {alias}.{}::text", field.name),
        };
        folded().map(text).collect()
    };
    let names: String = folded().map(|field| format!(", {}", field.name)).collect();
    let behind = |alias: &str| match after {
        None => String::new(),
        Some((network_id, record_id)) => format!(
            " and ({alias}.network_id, {alias}.record_id) > ({}, {})",
            quote_literal(network_id),
            quote_literal(record_id)
        ),
    };
    format!(
        "{touched}
         select l.* from (
             select a.network_id, a.record_id, a.event_id, null::bigint, a.adjustment_sequence_id, a.adjustment_timestamp,
                 null::text {}
             from adjustments a where a.tune_event_id is not null and {}{}
             union all
             select p.network_id, p.record_id, null, p.adjustment_count, p.last_adjustment_sequence_id, null,
                 p.last_adjusted_at::text {}
             from record_patches p where {}{}
         ) l (network_id, record_id, event_id, adjustment_count, sequence_id, adjusted, last_adjusted_at {names})
         order by network_id, record_id",
        columns("a"),
        scope.of_records("a"),
        behind("a"),
        columns("p"),
        scope.of_records("p"),
        behind("p"),
        touched = scope.with_touched(),
    )
}

impl Record {
    /// Takes one row of the stream in.
    fn add(&mut self, row: &PgRow) {
        self.rows += 1;
        let mut at = 6;
        let mut next = || {
            at += 1;
            row.get::<Option<String>, _>(at)
        };
        let sums: Vec<Option<String>> = delta_fields().map(|_| next()).collect();
        let state = state_fields().map(|_| next()).collect();
        if let Some(adjustment_count) = row.get(3) {
            self.patches.push(Stored {
                adjustment_count,
                last_adjustment_sequence_id: row.get(4),
                last_adjusted_at: row.get(6),
                sums,
                state,
            });
            return;
        }
        let amount = |text: &Option<String>| match text {
            None => Some(Amount::ZERO),
            Some(text) => Amount::parse(text),
        };
        match sums.iter().map(amount).collect() {
            Some(deltas) => self.ledger.push(Entry {
                event_id: row.get(2),
                adjustment_sequence_id: row.get(4),
                adjustment_timestamp: row.get(5),
                deltas,
                state,
            }),
            None => self.no_amount = true,
        }
    }

    /// What is wrong with its patch, if anything is.
    pub fn difference(&self) -> Option<Difference> {
        let wrong = |wrong| {
            Some(Difference {
                wrong,
                fields: Vec::new(),
            })
        };
        if self.no_amount {
            return wrong(Wrong::NoAmount);
        }
        match (self.ledger.as_slice(), self.patches.as_slice()) {
            ([], [_]) => wrong(Wrong::NoLedger),
            (_, []) => wrong(Wrong::NoPatch),
            (_, [_, _, ..]) => wrong(Wrong::ManyPatches),
            (ledger, [stored]) => {
                let Ok(patch) = fold(ledger) else {
                    return wrong(Wrong::NoAmount);
                };
                let fields = stored.differs_from(&patch);
                (!fields.is_empty()).then_some(Difference {
                    wrong: Wrong::Differs,
                    fields,
                })
            }
        }
    }
}

impl Stored {
    fn differs_from(&self, patch: &Patch) -> Vec<&'static str> {
        let last_adjusted_at = patch
            .last_adjusted_at
            .map(|seconds| format!("{}+00", Moment((seconds + UNIX_EPOCH) * 1_000_000)));
        let mut fields = Vec::new();
        for (name, equal) in [
            (
                "adjustment_count",
                self.adjustment_count == patch.adjustment_count,
            ),
            (
                "last_adjustment_sequence_id",
                self.last_adjustment_sequence_id == patch.last_adjustment_sequence_id,
            ),
            (
                "last_adjusted_at",
                self.last_adjusted_at == last_adjusted_at,
            ),
        ] {
            if !equal {
                fields.push(name);
            }
        }
        let sums = self.sums.iter().zip(&patch.sums);
        let sums = sums.map(|(stored, sum)| stored.as_deref() == Some(sum.to_string().as_str()));
        let state = self.state.iter().zip(&patch.state).map(|(a, b)| a == b);
        let equal = sums.chain(state).zip(folded());
        fields.extend(
            equal
                .filter(|(equal, _)| !equal)
                .map(|(_, field)| field.name),
        );
        fields
    }
}
