//! What `hydrant reconcile` reads, in one read-only snapshot: sums of the view `stats`, the facts behind them, and what was
//! changed since a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::connection::{READS_WHOLE_TABLES, Settings, quote_literal};
use super::fault::Fault;
use crate::amount::Amount;
use crate::formats::value::Day;
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure, Value};
use crate::reconcile::fact::{Fact, Mark};

/// Which facts are looked at.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// All networks where it is none.
    pub network_id: Option<String>,
    /// The first day.
    pub since: Option<Day>,
    /// The last day.
    pub until: Option<Day>,
    /// Only facts with these values.
    pub only: Vec<(Dimension, Value)>,
}

impl Filter {
    /// The condition over rows that have the columns of `stats`.
    fn condition(&self) -> String {
        let mut terms = vec!["true".to_owned()];
        terms.extend(
            self.network_id
                .iter()
                .map(|id| format!("network_id = {}", quote_literal(id))),
        );
        terms.extend(self.since.map(|day| format!("date >= '{day}'")));
        terms.extend(self.until.map(|day| format!("date <= '{day}'")));
        terms.extend(self.only.iter().map(|(dimension, value)| {
            let column = dimension.as_str();
            match value {
                Value::Blank => format!("{column} is null"),
                value => format!("{column} = {}", quote_literal(&value.to_string())),
            }
        }));
        terms.join(" and ")
    }
}

/// What was changed in one group.
#[derive(Debug)]
pub struct Change {
    pub group: Group,
    /// Adjustments, and conversions that an adjustment created.
    pub facts: i64,
    pub amounts: Amounts,
    /// Of it, what adjustments without their conversion changed.
    pub orphans: Amounts,
    /// Not in it: what adjustments with `update_stats` = false say.
    pub withheld: Amounts,
}

/// Sums by network, then by group.
pub type Sums = BTreeMap<String, BTreeMap<Group, Amounts>>;

/// The database as it was at one moment.
pub struct Snapshot {
    connection: PgConnection,
    /// The moment, in UTC.
    pub taken: String,
}

const DOING: &str = "could not read what to reconcile";

impl Snapshot {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn take(settings: &Settings) -> Result<Snapshot, Fault> {
        let mut connection = settings.snapshot(READS_WHOLE_TABLES).await?;
        let taken = sqlx::query_scalar("select to_char(now(), 'YYYY-MM-DD HH24:MI:SS')")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        Ok(Snapshot { connection, taken })
    }

    /// The sums of `stats` by these dimensions.
    ///
    /// # Errors
    /// The database does not answer, or a sum is beyond any amount.
    pub async fn sums(
        &mut self,
        dimensions: &[Dimension],
        filter: &Filter,
    ) -> anyhow::Result<Sums> {
        let by = names(dimensions);
        let by: Vec<&str> = ["network_id"].into_iter().chain(by).collect();
        let sums =
            Measure::ALL.map(|measure| format!("trim_scale(sum({}))::text", measure.as_str()));
        let sql = format!(
            "select {}, {} from stats where {} group by {}",
            texts(&by),
            sums.join(", "),
            filter.condition(),
            by.join(", "),
        );
        let mut found = Sums::new();
        self.each(&sql, |row| {
            let group = group(row, 1, dimensions)?;
            let amounts = amounts(row, 1 + dimensions.len())?;
            found.entry(row.get(0)).or_default().insert(group, amounts);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Calls `see` with every conversion, adjustment and variant. With `days`, those of these days alone.
    ///
    /// # Errors
    /// As for [`Snapshot::sums`], and what `see` gives.
    pub async fn facts(
        &mut self,
        dimensions: &[Dimension],
        filter: &Filter,
        days: Option<&BTreeSet<Day>>,
        mut see: impl FnMut(Fact) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let days = days.map_or(String::new(), |days| {
            let days: Vec<String> = days.iter().map(Day::to_string).collect();
            format!(" and date = any ('{{{}}}'::date[])", days.join(","))
        });
        let by = names(dimensions);
        let sql = format!(
            "select record_id, event_id, kind, array_to_string(marks, ' '), hour::bigint, counts, {}
             from ({FACTS}) f where {}{days}",
            [by.as_slice(), &CONTRIBUTIONS].concat().join("::text, ") + "::text",
            filter.condition(),
        );
        self.each(&sql, |row| {
            let marks: String = row.get(3);
            see(Fact {
                record_id: row.get(0),
                event_id: row.get(1),
                kind: row.get(2),
                marks: Mark::ALL
                    .into_iter()
                    .filter(|mark| marks.split(' ').any(|name| name == mark.as_str()))
                    .collect(),
                hour: row.get(4),
                counts: row.get(5),
                group: group(row, 6, dimensions)?,
                amounts: amounts(row, 6 + dimensions.len())?,
            })
        })
        .await
    }

    /// What was changed since a time (seconds since 1970), by network and group, where it comes to anything.
    ///
    /// # Errors
    /// As for [`Snapshot::sums`].
    pub async fn changes(
        &mut self,
        dimensions: &[Dimension],
        filter: &Filter,
        since: i64,
    ) -> anyhow::Result<BTreeMap<String, Vec<Change>>> {
        let by = names(dimensions);
        let by: Vec<&str> = ["network_id"].into_iter().chain(by).collect();
        let sums = |condition: &str| {
            CONTRIBUTIONS
                .map(|column| {
                    format!(
                        "trim_scale(coalesce(sum({column}) filter (where {condition}), 0))::text"
                    )
                })
                .join(", ")
        };
        let sql = format!(
            "select {}, count(*), {}, {}, {}
             from ({FACTS}) f
             where kind <> 'variant' and made_at >= {since} and {}
             group by {} order by {}",
            texts(&by),
            sums("counts"),
            sums("counts and 'orphan' = any (marks)"),
            sums("not counts"),
            filter.condition(),
            by.join(", "),
            by.join(", "),
        );
        let mut found: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        self.each(&sql, |row| {
            let at = 2 + dimensions.len();
            let change = Change {
                group: group(row, 1, dimensions)?,
                facts: row.get(at - 1),
                amounts: amounts(row, at)?,
                orphans: amounts(row, at + Measure::ALL.len())?,
                withheld: amounts(row, at + 2 * Measure::ALL.len())?,
            };
            if !change.amounts.is_zero() || !change.withheld.is_zero() {
                found.entry(row.get(0)).or_default().push(change);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// How many items of quarantine are open that belong to the network, or to none that is known.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn open_quarantine(&mut self, network_id: &str) -> Result<i64, Fault> {
        sqlx::query_scalar(
            "select count(*) from quarantine where status = 'open' and coalesce(network_id, $1) = $1",
        )
        .bind(network_id)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, DOING))
    }

    /// Of days before this one clicks and impressions may be gone.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn events_dropped_before(&mut self) -> Result<Option<Day>, Fault> {
        let before: Option<i32> = sqlx::query_scalar(
            "select before - date '2000-01-01' from retention_marks where kind = 'events'",
        )
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        Ok(before.map(Day))
    }

    async fn each(
        &mut self,
        sql: &str,
        mut see: impl FnMut(&PgRow) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|error| Fault::new(error, DOING))?
        {
            see(&row)?;
        }
        Ok(())
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }
}

/// The columns of [`FACTS`] that are the [`Measure`]s of a fact, in their order.
const CONTRIBUTIONS: [&str; 6] = [
    "case when action = 'impression' then num else 0 end",
    "case when action = 'click' then num else 0 end",
    "case when action = 'conversion' then num else 0 end",
    "payout",
    "revenue",
    "sale_amount",
];

/// Conversions, adjustments and variants with the columns that `stats` has, what they count or would count, since when they
/// change what was known before (`made_at`; NULL: they do not), and what is odd about them. Clicks and impressions are too
/// many to be named one by one.
const FACTS: &str = "
    select e.network_id, e.event_day as date, e.hour, coalesce(e.offer_id, 0) as offer_id,
        coalesce(e.affiliate_id, 0) as affiliate_id, coalesce(e.advertiser_id, 0) as advertiser_id,
        coalesce(e.goal_id, 0) as goal_id, e.currency, e.record_id, e.event_id, 'original' as kind, e.action, k.counts,
        case when e.adjust_action is not null
            then coalesce(e.adjustment_timestamp, extract(epoch from e.received_at)::bigint) end as made_at,
        coalesce(e.num, 1) as num, coalesce(e.payout, 0) as payout, coalesce(e.revenue, 0) as revenue,
        coalesce(e.sale_amount, 0) as sale_amount,
        array_remove(array[
            case when not k.counts and k.status = 'pending' then 'pending' end,
            case when not k.counts and k.status = 'rejected' then 'rejected' end,
            case when e.status_code between 21 and 23 then 'test' end,
            case when exists (
                select from events_conversions l
                where l.network_id = e.network_id and l.record_id = e.record_id
                    and (l.adjust_action is not null, l.event_id) < (e.adjust_action is not null, e.event_id)
            ) then 'duplicate_original' end
        ], null) as marks
    from events_conversions e
    left join record_patches p on p.network_id = e.network_id and p.record_id = e.record_id
    cross join lateral (
        select e.adjust_action is not null or e.status is null or e.status = 'approved' as counts,
            coalesce(p.status, e.status) as status
    ) k
    union all
    select a.network_id, a.event_day, a.hour, coalesce(a.offer_id, 0), coalesce(a.affiliate_id, 0),
        coalesce(a.advertiser_id, 0), coalesce(a.goal_id, 0), a.currency, a.record_id, a.event_id, 'adjustment', a.action,
        a.update_stats is distinct from false,
        coalesce(a.adjustment_timestamp, extract(epoch from a.received_at)::bigint),
        coalesce(a.num, 0), coalesce(a.payout, 0), coalesce(a.revenue, 0), coalesce(a.sale_amount, 0),
        array_remove(array[
            case when a.action = 'conversion' and a.tune_event_id is not null and not exists (
                select from events_conversions o where o.network_id = a.network_id and o.record_id = a.record_id
            ) then 'orphan' end,
            case when a.status_code between 21 and 23 then 'test' end,
            case when not a.update_stats then 'update_stats_false' end
        ], null)
    from adjustments a
    union all
    select v.network_id, v.event_day, v.hour, coalesce(v.offer_id, 0), coalesce(v.affiliate_id, 0),
        coalesce(v.advertiser_id, 0), coalesce(v.goal_id, 0), v.currency, v.record_id, v.event_id, 'variant', v.action,
        false, null::bigint,
        coalesce(v.num, case v.role when 'adjustment' then 0 else 1 end), coalesce(v.payout, 0), coalesce(v.revenue, 0),
        coalesce(v.sale_amount, 0), array['variant']
    from event_variants v";

fn names(dimensions: &[Dimension]) -> Vec<&'static str> {
    dimensions.iter().map(|one| one.as_str()).collect()
}

fn texts(columns: &[&str]) -> String {
    columns.join("::text, ") + "::text"
}

fn group(row: &PgRow, at: usize, dimensions: &[Dimension]) -> anyhow::Result<Group> {
    let values = dimensions.iter().enumerate().map(|(n, dimension)| {
        let text: Option<String> = row.get(at + n);
        match (text, dimension) {
            (None, _) => Ok(Value::Blank),
            // As it is: a report's cell is trimmed, a fact's field need not be.
            (Some(text), Dimension::Currency) => Ok(Value::Text(text)),
            (Some(text), dimension) => dimension
                .read(&text)
                .map_or_else(|| odd(*dimension, text), Ok),
        }
    });
    values.collect()
}

/// A number that TUNE does not give, such as a negative id, stands for itself.
fn odd(dimension: Dimension, text: String) -> anyhow::Result<Value> {
    match text.parse() {
        Ok(number) => Ok(Value::Number(number)),
        Err(_) => anyhow::bail!("the database has {text} as {}", dimension.as_str()),
    }
}

fn amounts(row: &PgRow, at: usize) -> anyhow::Result<Amounts> {
    let mut amounts = Amounts::default();
    for (n, measure) in Measure::ALL.into_iter().enumerate() {
        let text: String = row.get(at + n);
        let amount = Amount::parse(&text).with_context(|| {
            format!(
                "{text} of {} in the database is too large to compare",
                measure.as_str()
            )
        })?;
        amounts.add(measure, amount)?;
    }
    Ok(amounts)
}
