//! Statements that add up in `numeric`, apart from the fold in Rust: what the views say against what the facts say.

use super::Scope;
use crate::formats::value::Day;
use crate::store::rollup::difference::{KEY, differences};

/// What an original `e` adds to the totals.
const CONTRIBUTION: &str = "
    cross join lateral (
        select
            case when counts then coalesce(e.num, 1) else 0 end as num,
            case when counts then coalesce(e.payout, 0) else 0 end as payout,
            case when counts then coalesce(e.revenue, 0) else 0 end as revenue,
            case when counts then coalesce(e.sale_amount, 0) else 0 end as sale_amount
        from (select e.adjust_action is not null or e.status is null or e.status = 'approved' as counts) k
    ) c";

/// The original `o` that an adjustment `a` belongs to.
pub const JOIN_ORIGINAL: &str = "
    join events_conversions o on o.network_id = a.network_id and o.record_id = a.record_id
        and not exists (
            select from events_conversions l
            where l.network_id = o.network_id and l.record_id = o.record_id
                and (l.adjust_action is not null, l.event_id) < (o.adjust_action is not null, o.event_id)
        )";

const NO_ORIGINAL: &str = "not exists (
    select from events_conversions o where o.network_id = p.network_id and o.record_id = p.record_id)";

/// V3.
pub fn by_network(scope: &Scope, _: &[Day]) -> String {
    let sums = [
        "num",
        "payout",
        "revenue",
        "sale_amount",
        "payout_cents",
        "revenue_cents",
        "sale_cents",
    ];
    let shown: Vec<String> = sums
        .map(|name| format!("('{name}', s.{name})"))
        .into_iter()
        .collect();
    let added: Vec<String> = sums
        .map(|name| format!("coalesce(sum({name}), 0) as {name}"))
        .into_iter()
        .collect();
    format!(
        "{touched}, terms (network_id, {names}) as (
             select v.network_id, v.net_num, v.net_payout, v.net_revenue, v.net_sale_amount, 0, 0, 0
             from conversions v where {of_v}
             union all
             select e.network_id, c.num, c.payout, c.revenue, c.sale_amount, 0, 0, 0
             from duplicate_originals e {CONTRIBUTION} where {of_e}
             union all
             select p.network_id, p.num, p.payout, p.revenue, p.sale_amount, 0, 0, 0
             from record_patches p where {NO_ORIGINAL} and {of_p}
             union all
             select p.network_id, 0, 0, 0, 0, p.payout_cents, p.revenue_cents, p.sale_cents
             from record_patches p where {of_p}
             union all
             select e.network_id, -c.num, -c.payout, -c.revenue, -c.sale_amount, 0, 0, 0
             from events_conversions e {CONTRIBUTION} where {of_e}
             union all
             select a.network_id, -a.num, -a.payout, -a.revenue, -a.sale_amount,
                 -a.payout_cents, -a.revenue_cents, -a.sale_cents
             from adjustments a where a.tune_event_id is not null and {of_a}
         )
         select 'conversions and facts differ in a sum', jsonb_build_object(
             'network_id', s.network_id, 'field', f.name, 'difference', trim_scale(f.difference)::text)
         from (select network_id, {added} from terms group by network_id) s
         cross join lateral (values {shown}) f (name, difference)
         where f.difference <> 0",
        touched = scope.with_touched(),
        names = sums.join(", "),
        added = added.join(", "),
        shown = shown.join(", "),
        of_v = scope.of_records("v"),
        of_e = scope.of_records("e"),
        of_p = scope.of_records("p"),
        of_a = scope.of_records("a"),
    )
}

/// V4: every fact by the fields of its record's original; those without one stand together.
pub fn by_group(scope: &Scope, _: &[Day]) -> String {
    let group = "network_id, event_day, offer_id, affiliate_id, goal_id, currency";
    let of = |alias: &str| format!("{alias}.{}", group.replace(", ", &format!(", {alias}.")));
    let none = "null::date, null::bigint, null::bigint, null::bigint, null::text";
    format!(
        "{touched}, least as (
             select distinct on (o.network_id, o.record_id) o.record_id, {of_least}
             from events_conversions o where {of_o}
             order by o.network_id, o.record_id, o.adjust_action is not null, o.event_id
         ), terms ({group}, num, payout, revenue, sale_amount) as (
             select {of_conversion}, v.net_num, v.net_payout, v.net_revenue, v.net_sale_amount
             from conversions v where {of_v}
             union all
             select {of_original}, c.num, c.payout, c.revenue, c.sale_amount
             from duplicate_originals e {CONTRIBUTION} where {of_e}
             union all
             select p.network_id, {none}, p.num, p.payout, p.revenue, p.sale_amount
             from record_patches p where {NO_ORIGINAL} and {of_p}
             union all
             select {of_original}, -c.num, -c.payout, -c.revenue, -c.sale_amount
             from events_conversions e {CONTRIBUTION} where {of_e}
             union all
             select a.network_id, l.event_day, l.offer_id, l.affiliate_id, l.goal_id, l.currency,
                 -a.num, -a.payout, -a.revenue, -a.sale_amount
             from adjustments a left join least l on l.network_id = a.network_id and l.record_id = a.record_id
             where a.tune_event_id is not null and {of_a}
         )
         select 'conversions and facts differ in the sums of a group', jsonb_build_object(
             'network_id', network_id, 'day', event_day, 'offer_id', offer_id, 'affiliate_id', affiliate_id,
             'goal_id', goal_id, 'currency', currency, 'num', trim_scale(num)::text, 'payout', trim_scale(payout)::text,
             'revenue', trim_scale(revenue)::text, 'sale_amount', trim_scale(sale_amount)::text)
         from (
             select {group}, coalesce(sum(num), 0) as num, coalesce(sum(payout), 0) as payout,
                 coalesce(sum(revenue), 0) as revenue, coalesce(sum(sale_amount), 0) as sale_amount
             from terms group by {group}
         ) s
         where num <> 0 or payout <> 0 or revenue <> 0 or sale_amount <> 0",
        touched = scope.with_touched(),
        of_least = of("o"),
        of_conversion = of("v"),
        of_original = of("e"),
        of_o = scope.of_records("o"),
        of_v = scope.of_records("v"),
        of_e = scope.of_records("e"),
        of_p = scope.of_records("p"),
        of_a = scope.of_records("a"),
    )
}

/// V5: what makes sums by the facts' own fields, as in `stats`, differ from those of V4.
pub fn drift(scope: &Scope, _: &[Day]) -> String {
    let fields = |alias: &str| {
        format!(
            "({alias}.event_day, coalesce({alias}.offer_id, 0), coalesce({alias}.affiliate_id, 0),
              coalesce({alias}.goal_id, 0), {alias}.currency)"
        )
    };
    format!(
        "{touched}
         select 'an adjustment that stats counts elsewhere than its original',
             jsonb_build_object('network_id', a.network_id, 'record_id', a.record_id, 'event_id', a.event_id)
         from adjustments a
         {JOIN_ORIGINAL}
         where a.tune_event_id is not null and a.update_stats is distinct from false and {of_a}
             and (coalesce(a.num, 0), coalesce(a.payout, 0), coalesce(a.revenue, 0), coalesce(a.sale_amount, 0))
                 <> (0, 0, 0, 0)
             and {} is distinct from {}",
        fields("a"),
        fields("o"),
        touched = scope.with_touched(),
        of_a = scope.of_records("a"),
    )
}

/// V14. With a day: groups of that day and later.
pub fn rollup(scope: &Scope, _: &[Day]) -> String {
    let since = match scope {
        Scope::Since(day) => Some(*day),
        Scope::All | Scope::Record(..) => None,
    };
    let key: Vec<String> = KEY
        .split(", ")
        .map(|name| format!("'{name}', {name}"))
        .collect();
    format!(
        "select 'the sums of a group lack something of its facts, or have too much', jsonb_build_object({key},
             'facts', facts, 'num', trim_scale(num)::text, 'payout', trim_scale(payout)::text,
             'revenue', trim_scale(revenue)::text, 'sale_amount', trim_scale(sale_amount)::text)
         from ({differences}) d
         union all
         select 'view stats does not read what it should in this state of the rollup', jsonb_build_object('state', state)
         from rollup_state where (state = 'on') <> (pg_get_viewdef('stats'::regclass) ~ 'stats_rollup')",
        key = key.join(", "),
        differences = differences(since),
    )
}
