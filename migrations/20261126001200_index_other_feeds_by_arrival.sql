-- What `hydrant retention` remembers of the feeds beside HasOffers, whose values that may be about a person it blanks as well.

comment on column retention_marks.kind is 'events: clicks and impressions are dropped; personal: what may be about a person is blanked in HasOffers'' tables; personal_other: in those of Everflow and Recurly.';
comment on column retention_marks.before is 'Of days before this one rows may be gone, or values may be blank; of personal_other those that came before this day.';
comment on column retention_marks.complete_before is 'Of values: of days before this one every such value is blank that was there at looked_at; NULL: not known.';
comment on column retention_marks.kept is 'Of values: columns of that kind that may hold some all the same.';
comment on column retention_marks.looked_at is 'Of values: when the last look at everything began that came to its end.';

-- What came since the last look is found by its time. Rows are appended, so ranges of pages are ranges of time.
create index everflow_conversion_versions_received on everflow_conversion_versions using brin (received_at);
create index recurly_usage_events_received on recurly_usage_events using brin (received_at);
