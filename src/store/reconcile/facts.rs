//! What is read of single facts: those that could explain a difference, what those of a kind come to, and what was changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use sqlx::Row;

use super::{Filter, Snapshot, amounts, group, names, texts};
use crate::formats::value::Day;
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure};
use crate::reconcile::fact::{Fact, Mark, Marked};

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

impl Snapshot {
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
                marks: marks.split(' ').filter_map(Mark::named).collect(),
                hour: row.get(4),
                counts: row.get(5),
                group: group(row, 6, dimensions)?,
                amounts: amounts(row, 6 + dimensions.len())?,
            })
        })
        .await
    }

    /// What facts come to by their marks, whether they count, and currency. One with two marks is in both.
    ///
    /// # Errors
    /// As for [`Snapshot::sums`].
    pub async fn marked(&mut self, filter: &Filter) -> anyhow::Result<Vec<Marked>> {
        let sums = CONTRIBUTIONS.map(|column| format!("trim_scale(sum({column}))::text"));
        let sql = format!(
            "select mark, counts, count(*), currency, {}
             from ({FACTS}) f cross join lateral unnest(marks) mark
             where {}
             group by mark, counts, currency",
            sums.join(", "),
            filter.condition(),
        );
        let mut found = Vec::new();
        self.each(&sql, |row| {
            let mark: &str = row.get(0);
            found.push(Marked {
                mark: Mark::named(mark).with_context(|| format!("nothing is marked {mark}"))?,
                counts: row.get(1),
                facts: row.get(2),
                currency: group(row, 3, &[Dimension::Currency])?.remove(0),
                amounts: amounts(row, 4)?,
            });
            Ok(())
        })
        .await?;
        found.sort_by(|a, b| (a.mark, b.counts, &a.currency).cmp(&(b.mark, a.counts, &b.currency)));
        Ok(found)
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
