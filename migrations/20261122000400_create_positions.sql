-- How far a source was read whose messages are not deleted: a stream, a folder, a bucket. A position is saved in the
-- transaction that stores what stands before it, so that the two never disagree.
create table positions (
    source text not null,
    part text not null,
    position text,
    is_ended boolean not null default false,
    owner text,
    lease_until timestamptz,
    updated_at timestamptz not null default now(),
    constraint positions_part primary key (source, part)
);
comment on table positions is 'How far each part (shard, object, file) of a source was read whose messages are not deleted.';
comment on column positions.source is 'The name of the source in the configuration.';
comment on column positions.part is 'The part of the source: a shard, an object or a file.';
comment on column positions.position is 'Up to where all of it is stored, in the source''s own words; NULL: nothing yet.';
comment on column positions.is_ended is 'True when there is nothing more to come.';
comment on column positions.owner is 'The daemon that reads it now; NULL: nobody, or whoever comes.';
comment on column positions.lease_until is 'Until when the owner has it for itself, unless it asks again.';
comment on column positions.updated_at is 'When this row was last written.';
