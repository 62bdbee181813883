-- Recurly Engage: the events of its Event API Firehose, as they come from objects (pull) and by HTTP (push).
--
-- An event has no id. What is stored once is a place: the object or pushed body, the content, and the how manieth of that content
-- in there it is. So an object that has grown or changed is read again from its beginning and doubles nothing, and two lines of it
-- that are equal are two events.

create table recurly_usage_events (
    door text collate "C" not null,
    origin text collate "C" not null,
    occurrence bigint not null,
    app_id text collate "C",
    user_id text collate "C",
    anonymous_user_id text collate "C",
    event text,
    platform text,
    type text,
    ts bigint,
    properties_id text collate "C",
    properties_values jsonb,
    properties_options jsonb,
    traits jsonb,
    segments jsonb,
    paths jsonb,
    extra jsonb,
    occurred_at timestamptz,
    etag text,
    line bigint,
    natural_hash bytea not null,
    content_hash bytea not null,
    received_at timestamptz not null default now(),
    constraint recurly_usage_events_key primary key (origin, content_hash, occurrence, door)
);
comment on table recurly_usage_events is 'Recurly Engage: every event of the objects and of the pushed bodies, each place once. What came by both doors is here twice: view recurly_usages has it once.';
comment on column recurly_usage_events.door is 'How it came: pull, from an object or a file; push, by HTTP.';
comment on column recurly_usage_events.origin is 'Where it stood: the key of the object or the path of the file; of a pushed body the SHA-256 of its JSON, in hexadecimal digits.';
comment on column recurly_usage_events.occurrence is 'The how manieth event with this content it is in there, from 1.';
comment on column recurly_usage_events.app_id is 'The app. Recurly sends it if that is switched on for the account.';
comment on column recurly_usage_events.user_id is 'The user.';
comment on column recurly_usage_events.anonymous_user_id is 'The user where there is no user_id.';
comment on column recurly_usage_events.event is 'The name of the event.';
comment on column recurly_usage_events.platform is 'The kind of integration; redfast for usage.';
comment on column recurly_usage_events.type is 'The kind of tracker: page, track, custom, or what else comes.';
comment on column recurly_usage_events.ts is 'When it happened, as given: seconds or milliseconds since 1970 (UTC).';
comment on column recurly_usage_events.properties_id is 'The usage tracker.';
comment on column recurly_usage_events.properties_values is 'What is configured for the tracker.';
comment on column recurly_usage_events.properties_options is 'More options, such as whether a page''s URL is a regular expression.';
comment on column recurly_usage_events.traits is 'Attributes of the user, if switched on for the account.';
comment on column recurly_usage_events.segments is 'The user''s segments at that time, a list of {id, name}, if switched on for the account.';
comment on column recurly_usage_events.paths is 'The paths of personalization, a list of {id, name, device_type, zone}, if switched on for the account.';
comment on column recurly_usage_events.extra is 'Fields without a column and values that do not fit theirs, by their own names; NULL: none.';
comment on column recurly_usage_events.occurred_at is 'When it happened, from ts; NULL: ts is neither seconds nor milliseconds of the years 1973 to 2286.';
comment on column recurly_usage_events.etag is 'The version of the object in which it was first seen; NULL: a file or a pushed body.';
comment on column recurly_usage_events.line is 'Its line, or its place in the array, from 1, when it was first seen; NULL: not known, it came back from quarantine.';
comment on column recurly_usage_events.natural_hash is 'Hash of what happened: the user, type, event, properties_id, properties_values and time. Equal for one event by both doors.';
comment on column recurly_usage_events.content_hash is 'Hash of all columns that come from the event.';
comment on column recurly_usage_events.received_at is 'When it was stored.';

create index recurly_usage_events_natural on recurly_usage_events (natural_hash, door);
create index recurly_usage_events_occurred on recurly_usage_events (occurred_at);

-- Counting by the index answers a day without a look at the others; a window over all would not.
create view recurly_usages as
select e.app_id, e.user_id, e.anonymous_user_id, e.event, e.platform, e.type, e.ts, e.occurred_at,
       e.properties_id, e.properties_values, e.properties_options, e.traits, e.segments, e.paths, e.extra,
       e.door, e.origin, e.line, e.occurrence, e.natural_hash, e.received_at
from recurly_usage_events e
where e.door = (
    select case when count(*) filter (where same.door = 'push') > count(*) filter (where same.door = 'pull')
                then 'push' else 'pull' end
    from recurly_usage_events same
    where same.natural_hash = e.natural_hash
);
comment on view recurly_usages is 'Recurly Engage: each event once, however it came. Of equal events those of the door that brought more of them; where both brought as many, those pulled.';
