-- Fast reports: what view `stats` adds up, kept as sums by hour beside the facts. Off until `hydrant migrate --rollup on`;
-- then `stats` reads these sums instead of the facts.
--
-- Every transaction appends the sums of what it adds to `stats_deltas`, so that no two writers ever wait for the same row
-- of today. The daemon merges them into `stats_hourly` a few at a time. What holds is both together: view `stats_rollup`.

create table rollup_state (
    one boolean not null default true,
    state text not null default 'off',
    run bigint not null default 0,
    constraint rollup_state_key primary key (one),
    constraint rollup_state_one check (one),
    constraint rollup_state_states check (state in ('off', 'filling', 'on'))
);
comment on table rollup_state is 'Whether stats_hourly and stats_deltas are kept: one row.';
comment on column rollup_state.one is 'True: there is one row.';
comment on column rollup_state.state is 'off: nothing is kept; filling: writers append to stats_deltas, and the facts from before are being summed up; on: view stats reads the sums.';
comment on column rollup_state.run is 'How often filling has begun. Who began it finds out by this number whether somebody else has begun it since.';
insert into rollup_state default values;

-- Room in each page, because merging updates rows in place.
create table stats_hourly (
    network_id text collate "C" not null,
    date date not null,
    hour smallint,
    offer_id bigint not null,
    affiliate_id bigint not null,
    advertiser_id bigint not null,
    goal_id bigint not null,
    currency text,
    action text not null,
    facts bigint not null,
    num numeric not null,
    payout numeric not null,
    revenue numeric not null,
    sale_amount numeric not null
) with (fillfactor = 80);
comment on table stats_hourly is 'Sums of facts by hour, as far as they are merged. With stats_deltas they are what view stats adds up while the rollup is on.';
comment on column stats_hourly.network_id is 'The network.';
comment on column stats_hourly.date is 'The facts'' event_day.';
comment on column stats_hourly.hour is 'The facts'' hour; NULL: they tell none.';
comment on column stats_hourly.offer_id is 'The offer; 0: none.';
comment on column stats_hourly.affiliate_id is 'The affiliate; 0: none.';
comment on column stats_hourly.advertiser_id is 'The advertiser; 0: none.';
comment on column stats_hourly.goal_id is 'The goal; 0: none.';
comment on column stats_hourly.currency is 'The currency of the amounts; NULL: the facts tell none.';
comment on column stats_hourly.action is 'impression, click or conversion.';
comment on column stats_hourly.facts is 'How many facts these are; 0 or less: other contents of their ids won since.';
comment on column stats_hourly.num is 'Impressions, clicks or conversions.';
comment on column stats_hourly.payout is 'What affiliates are paid.';
comment on column stats_hourly.revenue is 'What advertisers pay.';
comment on column stats_hourly.sale_amount is 'Amount of the sales.';

-- Each group once. A missing hour or currency is a value like any other; NULLs would be different ones. No hour is 32768:
-- it does not fit a smallint; no currency is empty: that is stored as NULL. A report names days, so the day comes first.
create unique index stats_hourly_key on stats_hourly (date, network_id, offer_id, affiliate_id, advertiser_id, goal_id,
    action, coalesce(hour::integer, 32768), coalesce(currency, ''));
create index stats_hourly_offer on stats_hourly (offer_id, date);

-- Rows come and go all the time: clear away behind them, so that it stays small.
create table stats_deltas (like stats_hourly including comments)
    with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
comment on table stats_deltas is 'What transactions added to the sums and nobody has merged into stats_hourly yet: one row for each group of a transaction.';

-- What each fact contributes to view `stats`, by its own fields. A condition on `date` reaches the partitions of its days.
create view stats_facts as
select network_id, partition_day as date, hour, coalesce(offer_id, 0) as offer_id, coalesce(affiliate_id, 0) as affiliate_id,
    coalesce(advertiser_id, 0) as advertiser_id, coalesce(goal_id, 0) as goal_id, currency, action, 1 as facts,
    coalesce(num, 1) as num, coalesce(payout, 0) as payout, coalesce(revenue, 0) as revenue,
    coalesce(sale_amount, 0) as sale_amount
from events
where partition_day > '0001-01-01' and (adjust_action is not null or status is null or status = 'approved')
union all
select network_id, event_day, hour, coalesce(offer_id, 0), coalesce(affiliate_id, 0),
    coalesce(advertiser_id, 0), coalesce(goal_id, 0), currency, action, 1,
    coalesce(num, 1), coalesce(payout, 0), coalesce(revenue, 0), coalesce(sale_amount, 0)
from events_conversions
where adjust_action is not null or status is null or status = 'approved'
union all
select network_id, event_day, hour, coalesce(offer_id, 0), coalesce(affiliate_id, 0),
    coalesce(advertiser_id, 0), coalesce(goal_id, 0), currency, action, 1,
    coalesce(num, 0), coalesce(payout, 0), coalesce(revenue, 0), coalesce(sale_amount, 0)
from adjustments
where update_stats is distinct from false;
comment on view stats_facts is 'What each fact contributes to view stats: one row for each.';

-- The same, added up.
create view stats_rollup as
select network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency, action, facts,
    num, payout, revenue, sale_amount
from stats_hourly
union all
select network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency, action, facts,
    num, payout, revenue, sale_amount
from stats_deltas;
comment on view stats_rollup is 'What facts contribute to view stats, added up, while the rollup is on: merged and not merged yet. A group may have several rows.';

-- Their columns are those of stats_hourly, and mean what they mean there.
do $$
declare
    col record;
begin
    for col in
        select attname as name, col_description(attrelid, attnum) as meaning
        from pg_attribute where attrelid = 'stats_hourly'::regclass and attnum > 0
    loop
        execute format('comment on column stats_facts.%I is %L', col.name, col.meaning);
        execute format('comment on column stats_rollup.%I is %L', col.name, col.meaning);
    end loop;
end
$$;

-- The rows as before, by way of stats_facts. `hydrant migrate --rollup` lets it read stats_rollup instead, and back.
create or replace view stats as
select
    network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency,
    coalesce(sum(num) filter (where action = 'impression'), 0) as impressions,
    coalesce(sum(num) filter (where action = 'click'), 0) as clicks,
    coalesce(sum(num) filter (where action = 'conversion'), 0) as conversions,
    sum(payout) as payout, sum(revenue) as revenue, sum(sale_amount) as sale_amount
from stats_facts
group by network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency;
