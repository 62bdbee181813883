//! Statements that list single rows that should not be: each gives (what, example).

use super::Scope;
use super::sums::JOIN_ORIGINAL;
use crate::formats::value::Day;

/// The clicks and impressions that are looked at. Those of days before are neither read nor locked.
fn clicks(scope: &Scope) -> String {
    match scope {
        Scope::Since(day) => format!("e.partition_day >= '{day}'"),
        Scope::All | Scope::Record(..) => format!("e.partition_day > '{}'", Day::CONVERSIONS),
    }
}

/// V1. The rows themselves are counted, whatever the indexes say.
pub fn repeated_ids(scope: &Scope, _: &[Day]) -> String {
    let rows = |table: &str, condition: &str| {
        format!(
            "select 'an id is there more than once', jsonb_build_object(
                 'table', min(e.tableoid::regclass::text), 'network_id', e.network_id, 'event_id', e.event_id)
             from {table} e where {condition} group by e.tableoid, e.network_id, e.event_id having count(*) > 1"
        )
    };
    format!(
        "{} union all {} union all {}
         union all
         select 'a table has no unique index on (network_id, event_id)',
             jsonb_build_object('table', t.oid::regclass::text)
         from (
             select inhrelid as oid from pg_inherits where inhparent = 'events'::regclass
             union all select 'adjustments'::regclass
         ) t
         where not exists (
             select from pg_index i
             where i.indrelid = t.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indnkeyatts = 2
                 and pg_get_indexdef(i.indexrelid, 1, true) = 'network_id'
                 and pg_get_indexdef(i.indexrelid, 2, true) = 'event_id'
         )",
        rows("adjustments", "true"),
        rows("events_conversions", "true"),
        rows("events", &clicks(scope)),
    )
}

/// V13.
pub fn ids_of_two_days(scope: &Scope, _: &[Day]) -> String {
    format!(
        "select 'an id counts on more than one day',
             jsonb_build_object('network_id', e.network_id, 'event_id', e.event_id,
                 'days', min(e.partition_day)::text || ' ' || max(e.partition_day)::text)
         from events e where {}
         group by e.network_id, e.event_id having min(e.tableoid) <> max(e.tableoid)",
        clicks(scope)
    )
}

/// V6.
pub fn unsettled_variants(scope: &Scope, days: &[Day]) -> String {
    unsettled(
        scope,
        days,
        "case when w.content_hash is null then 'another content of an id is kept, but none stands in its table'
              when w.content_hash = v.content_hash then 'the content that stands in its table is kept as another one, too'
              else 'another content of an id comes before the one that stands in its table' end,
         jsonb_build_object('role', v.role, 'network_id', v.network_id, 'event_id', v.event_id)",
    )
}

/// The keys of V6: role, network_id, event_id, partition_day as [`Day`] counts.
pub fn unsettled_keys(scope: &Scope, days: &[Day]) -> String {
    let columns = "distinct v.role, v.network_id, v.event_id, v.partition_day - date '2000-01-01'";
    unsettled(scope, days, columns)
}

/// Variants `v` whose winner `w`, the row of their id in their table, is missing, is the same content, or comes after them.
///
/// A click's table is that of its day, or the default partition. There a winner may be missing: a day that is dropped
/// takes its winners along and leaves its losers. But where the id stands in another table, the loser lost to a content
/// of another day, when both days shared a table that they share no more.
fn unsettled(scope: &Scope, days: &[Day], columns: &str) -> String {
    let days: Vec<String> = days.iter().map(Day::to_string).collect();
    let which = match scope {
        Scope::All => "true".to_owned(),
        // What lost keeps its time when it is moved aside: then its winner came since.
        Scope::Since(day) => format!("(v.received_at >= '{day}' or w.received_at >= '{day}')"),
        Scope::Record(..) => format!("({} or {})", scope.of_records("v"), scope.of_records("w")),
    };
    let of_id = "e.network_id = v.network_id and e.event_id = v.event_id";
    let from = "select e.network_id, e.record_id, e.event_id, e.content_hash, e.dispatch_timestamp,
                 e.received_at from";
    format!(
        "select {columns}
         from (
             select v.*, case
                     when v.role = 'adjustment' then 'adjustments'
                     when v.partition_day = '{conversions}' then 'conversions'
                     when v.partition_day = any ('{{{days}}}'::date[]) then 'day'
                     else 'default'
                 end as place
             from event_variants v
         ) v
         left join lateral (
             {from} adjustments e where v.place = 'adjustments' and {of_id}
             union all
             {from} events_conversions e where v.place = 'conversions' and {of_id}
             union all
             {from} events e where v.place = 'day' and e.partition_day = v.partition_day and {of_id}
             union all
             {from} events_default e where v.place = 'default' and {of_id}
             offset 0
         ) w on true
         where {which} and (
             w.content_hash is null and (
                 v.place <> 'default'
                 or exists (select from events e where e.partition_day > '{conversions}' and {of_id})
             )
             or w.content_hash = v.content_hash
             or w.content_hash is not null and (coalesce(v.dispatch_timestamp, {latest}), v.content_hash)
                 < (coalesce(w.dispatch_timestamp, {latest}), w.content_hash)
         )",
        conversions = Day::CONVERSIONS,
        days = days.join(","),
        latest = i64::MAX,
    )
}

/// V7.
pub fn duplicate_originals(_: &Scope, _: &[Day]) -> String {
    "select 'another original of a record',
         jsonb_build_object('network_id', network_id, 'record_id', record_id, 'event_id', event_id)
     from duplicate_originals"
        .to_owned()
}

/// V8.
pub fn orphans(_: &Scope, _: &[Day]) -> String {
    let ids = "jsonb_build_object('network_id', a.network_id, 'record_id', a.record_id, 'event_id', a.event_id)";
    format!(
        "select 'an adjustment without its original, ' || case
                 when a.received_at >= now() - interval '7 days' then 'here for 1 to 7 days'
                 when a.received_at >= now() - interval '30 days' then 'here for 7 to 30 days'
                 else 'here for more than 30 days' end, {ids}
         from orphan_adjustments a
         where a.received_at < now() - interval '1 day'
         union all
         select 'a tune_event_id that is the event_id of an original with another one: ids are joined wrongly', {ids}
         from orphan_adjustments a
         join events_conversions e on e.network_id = a.network_id and e.event_id = a.record_id
         union all
         select 'an adjustment with another action than its original', {ids}
         from adjustments a
         {JOIN_ORIGINAL}
         where a.tune_event_id is not null and a.action <> o.action"
    )
}

/// V9.
pub fn odd_amounts(_: &Scope, _: &[Day]) -> String {
    let ids = "jsonb_build_object('network_id', network_id, 'record_id', record_id)";
    format!(
        "select 'approved, and net_payout is not current_payout', {ids}
         from conversions where status = 'approved' and net_payout <> current_payout
         union all
         select 'approved, and net_revenue is not current_revenue', {ids}
         from conversions where status = 'approved' and net_revenue <> current_revenue
         union all
         select 'rejected, and net_num, net_payout or net_revenue is not zero', {ids}
         from conversions where status = 'rejected' and (net_num <> 0 or net_payout <> 0 or net_revenue <> 0)"
    )
}

/// V11.
pub fn open_quarantine(_: &Scope, _: &[Day]) -> String {
    "select 'open, ' || case when first_seen < now() - interval '1 day' then 'for more than a day' else 'of the last day' end
             || ': ' || scope || ', ' || reason,
         jsonb_build_object('id', id)
     from quarantine where status = 'open'"
        .to_owned()
}
