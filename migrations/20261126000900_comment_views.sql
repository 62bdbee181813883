-- What every column means that had no comment yet: those of views and of partitions, and the migrations' own.

comment on table hydrant_migrations is 'The migrations that this database has; hydrant''s own.';
comment on column hydrant_migrations.version is 'The time in the name of the migration''s file.';
comment on column hydrant_migrations.description is 'The rest of that name.';
comment on column hydrant_migrations.installed_on is 'When it was applied.';
comment on column hydrant_migrations.success is 'Whether all of it was.';
comment on column hydrant_migrations.checksum is 'SHA-384 of the file.';
comment on column hydrant_migrations.execution_time is 'How long it took, in nanoseconds.';

comment on column stats.network_id is 'The network.';
comment on column stats.date is 'The day of the event, event_day of each fact. A condition on it reaches the partitions of its days alone.';
comment on column stats.hour is 'Hour of the day in the network''s time zone; NULL: not given.';
comment on column stats.offer_id is 'The offer; 0: none was given.';
comment on column stats.affiliate_id is 'The affiliate; 0: none was given.';
comment on column stats.advertiser_id is 'The advertiser; 0: none was given.';
comment on column stats.goal_id is 'The goal; 0: the default goal, or none was given.';
comment on column stats.currency is 'The currency of the amounts; NULL: not given. Amounts of two currencies are never added.';
comment on column stats.impressions is 'Impressions, corrections included.';
comment on column stats.clicks is 'Clicks, corrections included.';
comment on column stats.conversions is 'Conversions that count: approved ones, and differences of adjustments.';
comment on column stats.payout is 'What affiliates get for them.';
comment on column stats.revenue is 'What advertisers pay for them.';
comment on column stats.sale_amount is 'The amounts of the sales.';

comment on column conversions.num is 'The original''s own, before adjustments: see net_num.';
comment on column conversions.sale_amount is 'The original''s own, before adjustments: see net_sale_amount.';
comment on column conversions.payout_cents is 'The original''s own, before adjustments. Compute no money from it.';
comment on column conversions.revenue_cents is 'The original''s own, before adjustments. Compute no money from it.';
comment on column conversions.sale_cents is 'The original''s own, before adjustments. Compute no money from it.';

-- The other columns of these views and partitions are those of a table, and mean what they mean there; of a conversion
-- those that adjustments can change are shown as they are now.
do $$
declare
    col record;
begin
    for col in
        select own.attrelid::regclass as relation, own.attname as name,
               col_description(origin.attrelid, origin.attnum)
               || case when pair.relation = 'conversions' and own.attname in (
                      'status', 'status_code', 'current_payout', 'current_revenue', 'ip', 'session_ip',
                      'session_datetime', 'user_agent', 'refer', 'pixel_refer', 'note'
                  ) then ' As it is now, after its adjustments.' else '' end as meaning
        from (values ('events_conversions', 'events'), ('events_default', 'events'), ('conversions', 'events'),
                     ('duplicate_originals', 'events'), ('orphan_adjustments', 'adjustments'),
                     ('recurly_usages', 'recurly_usage_events')) as pair (relation, origin)
        join pg_attribute own on own.attrelid = pair.relation::regclass and own.attnum > 0
        join pg_attribute origin on origin.attrelid = pair.origin::regclass and origin.attname = own.attname
        where col_description(own.attrelid, own.attnum) is null
    loop
        execute format('comment on column %s.%I is %L', col.relation, col.name, col.meaning);
    end loop;
end $$;
