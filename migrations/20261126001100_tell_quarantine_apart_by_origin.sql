-- An event without an id is told from others by where it stood. Equal bytes in two objects, or twice in one, are two such events, so
-- quarantine keeps them apart. Of feeds whose events have ids these columns are NULL, and equal bytes stay one row.

alter table quarantine
    add column origin text collate "C",
    add column etag text,
    add column occurrence bigint,
    add column line bigint;
comment on column quarantine.origin is 'Where it stood, as in recurly_usage_events; NULL: its feed has ids, it is a whole body that was pushed, or an earlier version put it here.';
comment on column quarantine.etag is 'The version of the object in which it was first seen; NULL: a file or a pushed body.';
comment on column quarantine.occurrence is 'The how manieth with these bytes it is in there, from 1.';
comment on column quarantine.line is 'Its line, or its place in the array, from 1, when it was first seen.';

-- The path of a file may be longer than what an index takes.
drop index quarantine_key;
create unique index quarantine_key on quarantine (source, scope, coalesce(network_id, ''), payload_sha256,
    coalesce(hashtextextended(origin, 0), 0), coalesce(occurrence, 0));

comment on column recurly_usage_events.origin is 'Where it stood: the address of the object, s3://BUCKET/KEY, or the absolute path of the file; of a pushed body the SHA-256 of its JSON, in hexadecimal digits.';
comment on column recurly_usage_events.etag is 'The version of the object in which it was first seen; NULL: a file or a pushed body, or not known, as the line.';
comment on column recurly_usage_events.line is 'Its line, or its place in the array, from 1, when it was first seen; NULL: not known, it came back from the quarantine of an earlier version.';
comment on column recurly_usages.origin is 'Where it stood: the address of the object, s3://BUCKET/KEY, or the absolute path of the file; of a pushed body the SHA-256 of its JSON, in hexadecimal digits.';
comment on column recurly_usages.line is 'Its line, or its place in the array, from 1, when it was first seen; NULL: not known, it came back from the quarantine of an earlier version.';
