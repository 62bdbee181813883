-- The id first: it is all but unique by itself, and the network is not. So a record is found without its network, too, and
-- no plan for the key (network_id, event_id) can go by this index instead, as it could while little was known of the table.
drop index events_conversions_record;
create index events_conversions_record on events_conversions (record_id, network_id);
drop index adjustments_record;
create index adjustments_record on adjustments (record_id, network_id);
