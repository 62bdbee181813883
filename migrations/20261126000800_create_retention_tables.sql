-- What `hydrant retention` remembers.

-- How far it has come. A row appears with the first event that is dropped, and the first value that is blanked.
create table retention_marks (
    kind text not null,
    before date not null,
    complete_before date,
    kept text[] not null default '{}',
    looked_at timestamptz,
    constraint retention_marks_kind primary key (kind)
);
comment on table retention_marks is 'How far old events were dropped and personal values blanked.';
comment on column retention_marks.kind is 'events: clicks and impressions are dropped; personal: what may be about a person is blanked.';
comment on column retention_marks.before is 'Of days before this one rows may be gone, or values may be blank.';
comment on column retention_marks.complete_before is 'Of personal: of days before this one every such value is blank that was there at looked_at; NULL: not known.';
comment on column retention_marks.kept is 'Of personal: columns of that kind that may hold values all the same.';
comment on column retention_marks.looked_at is 'Of personal: when the last look at everything began that came to its end.';

-- A day's partition says nothing of when its rows came. Writers note here what comes more than 28 days late, so that a
-- day is not dropped while its events may come again, and is blanked once more.
create table late_days (
    day date not null,
    last_at timestamptz not null default now(),
    constraint late_days_day primary key (day)
);
comment on table late_days is 'Days of which clicks or impressions came more than 28 days after.';
comment on column late_days.day is 'The day of the events.';
comment on column late_days.last_at is 'When some of them came last, to the hour.';

-- What came since the last look is found by its time. Rows are appended, so ranges of pages are ranges of time.
create index events_conversions_received on events_conversions using brin (received_at);
create index events_default_received on events_default using brin (received_at);
create index adjustments_received on adjustments using brin (received_at);
create index everflow_clicks_received on everflow_clicks using brin (received_at);
create index everflow_impressions_received on everflow_impressions using brin (received_at);
