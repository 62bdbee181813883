-- What Everflow sends: conversions, offers, clicks and impressions with a column for each documented field, and everything
-- else whole. The ids of offers, advertisers, affiliates and offer URLs are called the same in every table; any other column
-- has Everflow's own name. Times that are seconds stay so: a cast could fail on an odd one.
--
-- A conversion or an offer is one row with its present state, worked out from the versions that came. Writers lock that row.

create table everflow_conversions (
    network_id text collate "C" not null,
    conversion_id text collate "C" not null,
    transaction_id text collate "C",
    conversion_unix_timestamp bigint,
    status text,
    click_unix_timestamp bigint,
    is_event boolean,
    event text,
    is_view_through boolean,
    currency_id text collate "C",
    payout numeric,
    revenue numeric,
    payout_type text,
    revenue_type text,
    sale_amount numeric,
    coupon_code text,
    order_id text collate "C",
    sub1 text,
    sub2 text,
    sub3 text,
    sub4 text,
    sub5 text,
    sub6 text,
    sub7 text,
    sub8 text,
    sub9 text,
    sub10 text,
    adv1 text,
    adv2 text,
    adv3 text,
    adv4 text,
    adv5 text,
    adv6 text,
    adv7 text,
    adv8 text,
    adv9 text,
    adv10 text,
    source_id text collate "C",
    email text,
    country text,
    region text,
    city text,
    dma text,
    session_user_ip text,
    conversion_user_ip text,
    carrier text,
    platform text,
    os_version text,
    device_type text,
    device_model text,
    brand text,
    browser text,
    language text,
    http_user_agent text,
    idfa text,
    idfa_md5 text,
    idfa_sha1 text,
    google_ad_id text collate "C",
    google_ad_id_md5 text,
    google_ad_id_sha1 text,
    android_id text collate "C",
    android_id_md5 text,
    android_id_sha1 text,
    url text,
    isp text,
    referer text,
    app_id text collate "C",
    notes text,
    error_code bigint,
    error_message text,
    previous_network_offer_id text collate "C",
    network_offer_payout_revenue_id text collate "C",
    offer_id text collate "C",
    offer_name text,
    offer_status text,
    advertiser_id text collate "C",
    advertiser_name text,
    affiliate_id text collate "C",
    affiliate_name text,
    query_parameters jsonb,
    date text,
    click_date text,
    offer_url_id text collate "C",
    update_timestamp bigint,
    extra jsonb,
    received_at timestamptz not null default now(),
    constraint everflow_conversions_key primary key (network_id, conversion_id)
);
comment on table everflow_conversions is 'Everflow: conversions and the events after them, one row each, as they are now.';
comment on column everflow_conversions.network_id is 'The network: of the source where the payload has none.';
comment on column everflow_conversions.conversion_id is 'Everflow''s id of the conversion or event, number or text.';
comment on column everflow_conversions.transaction_id is 'The click that it came from. A conversion and its later events share it.';
comment on column everflow_conversions.conversion_unix_timestamp is 'When it happened, seconds since 1970 (UTC). The Firehose calls it conversion_timestamp.';
comment on column everflow_conversions.status is 'approved, pending, rejected or invalid. The Firehose calls it conversion_status.';
comment on column everflow_conversions.click_unix_timestamp is 'When the click happened, seconds since 1970 (UTC).';
comment on column everflow_conversions.is_event is 'Of webhooks. False: a base conversion; true: an event after one.';
comment on column everflow_conversions.event is 'The event''s name; empty for a base conversion. The Firehose calls it event_name.';
comment on column everflow_conversions.is_view_through is 'Whether it came from an impression.';
comment on column everflow_conversions.currency_id is 'The currency of the amounts.';
comment on column everflow_conversions.payout is 'What the affiliate is paid.';
comment on column everflow_conversions.revenue is 'What the advertiser pays.';
comment on column everflow_conversions.payout_type is 'How the payout is worked out.';
comment on column everflow_conversions.revenue_type is 'How the revenue is worked out.';
comment on column everflow_conversions.sale_amount is 'The amount of the sale.';
comment on column everflow_conversions.coupon_code is 'The coupon that was used.';
comment on column everflow_conversions.order_id is 'The advertiser''s id of the order.';
comment on column everflow_conversions.sub1 is 'The affiliate''s parameter 1.';
comment on column everflow_conversions.sub2 is 'The affiliate''s parameter 2.';
comment on column everflow_conversions.sub3 is 'The affiliate''s parameter 3.';
comment on column everflow_conversions.sub4 is 'The affiliate''s parameter 4.';
comment on column everflow_conversions.sub5 is 'The affiliate''s parameter 5.';
comment on column everflow_conversions.sub6 is 'The affiliate''s parameter 6. Of the Firehose alone.';
comment on column everflow_conversions.sub7 is 'The affiliate''s parameter 7. Of the Firehose alone.';
comment on column everflow_conversions.sub8 is 'The affiliate''s parameter 8. Of the Firehose alone.';
comment on column everflow_conversions.sub9 is 'The affiliate''s parameter 9. Of the Firehose alone.';
comment on column everflow_conversions.sub10 is 'The affiliate''s parameter 10. Of the Firehose alone.';
comment on column everflow_conversions.adv1 is 'The advertiser''s parameter 1.';
comment on column everflow_conversions.adv2 is 'The advertiser''s parameter 2.';
comment on column everflow_conversions.adv3 is 'The advertiser''s parameter 3.';
comment on column everflow_conversions.adv4 is 'The advertiser''s parameter 4.';
comment on column everflow_conversions.adv5 is 'The advertiser''s parameter 5.';
comment on column everflow_conversions.adv6 is 'The advertiser''s parameter 6. Of the Firehose alone.';
comment on column everflow_conversions.adv7 is 'The advertiser''s parameter 7. Of the Firehose alone.';
comment on column everflow_conversions.adv8 is 'The advertiser''s parameter 8. Of the Firehose alone.';
comment on column everflow_conversions.adv9 is 'The advertiser''s parameter 9. Of the Firehose alone.';
comment on column everflow_conversions.adv10 is 'The advertiser''s parameter 10. Of the Firehose alone.';
comment on column everflow_conversions.source_id is 'The affiliate''s source of the traffic.';
comment on column everflow_conversions.email is 'The user''s e-mail address.';
comment on column everflow_conversions.country is 'The country''s code.';
comment on column everflow_conversions.region is 'The region or state.';
comment on column everflow_conversions.city is 'The city.';
comment on column everflow_conversions.dma is 'The designated market area.';
comment on column everflow_conversions.session_user_ip is 'The address at the click.';
comment on column everflow_conversions.conversion_user_ip is 'The address at the conversion.';
comment on column everflow_conversions.carrier is 'The mobile carrier.';
comment on column everflow_conversions.platform is 'The operating system.';
comment on column everflow_conversions.os_version is 'Its version.';
comment on column everflow_conversions.device_type is 'desktop, mobile or tablet.';
comment on column everflow_conversions.device_model is 'The model of the device.';
comment on column everflow_conversions.brand is 'The brand of the device.';
comment on column everflow_conversions.browser is 'The browser.';
comment on column everflow_conversions.language is 'The browser''s language.';
comment on column everflow_conversions.http_user_agent is 'The user agent as the browser sent it.';
comment on column everflow_conversions.idfa is 'Apple''s id for advertisers.';
comment on column everflow_conversions.idfa_md5 is 'Its MD5.';
comment on column everflow_conversions.idfa_sha1 is 'Its SHA-1.';
comment on column everflow_conversions.google_ad_id is 'Google''s advertising id.';
comment on column everflow_conversions.google_ad_id_md5 is 'Its MD5.';
comment on column everflow_conversions.google_ad_id_sha1 is 'Its SHA-1.';
comment on column everflow_conversions.android_id is 'The id of the Android device.';
comment on column everflow_conversions.android_id_md5 is 'Its MD5.';
comment on column everflow_conversions.android_id_sha1 is 'Its SHA-1.';
comment on column everflow_conversions.url is 'The page of the conversion.';
comment on column everflow_conversions.isp is 'The internet provider.';
comment on column everflow_conversions.referer is 'The page that led there.';
comment on column everflow_conversions.app_id is 'The app.';
comment on column everflow_conversions.notes is 'Notes of the network.';
comment on column everflow_conversions.error_code is '0: no error.';
comment on column everflow_conversions.error_message is 'What the error was.';
comment on column everflow_conversions.previous_network_offer_id is 'The offer before the traffic was sent to another; 0: none.';
comment on column everflow_conversions.network_offer_payout_revenue_id is 'The rule that set payout and revenue.';
comment on column everflow_conversions.offer_id is 'The offer: relationship.offer of webhooks, network_offer_id of the Firehose.';
comment on column everflow_conversions.offer_name is 'The offer''s name at the time.';
comment on column everflow_conversions.offer_status is 'The offer''s status at the time.';
comment on column everflow_conversions.advertiser_id is 'The advertiser: relationship.advertiser of webhooks, network_advertiser_id of the Firehose.';
comment on column everflow_conversions.advertiser_name is 'The advertiser''s name at the time.';
comment on column everflow_conversions.affiliate_id is 'The affiliate: relationship.affiliate of webhooks, network_affiliate_id of the Firehose.';
comment on column everflow_conversions.affiliate_name is 'The affiliate''s name at the time.';
comment on column everflow_conversions.query_parameters is 'The parameters of the conversion''s URL.';
comment on column everflow_conversions.date is 'Of the Firehose, as it is there.';
comment on column everflow_conversions.click_date is 'Of the Firehose, as it is there.';
comment on column everflow_conversions.offer_url_id is 'The offer''s URL, of the Firehose: network_offer_url_id there.';
comment on column everflow_conversions.update_timestamp is 'Of the last conversion update that is in this row, seconds since 1970 (UTC).';
comment on column everflow_conversions.extra is 'Fields without a column and values that do not fit theirs, by their own names; NULL: none.';
comment on column everflow_conversions.received_at is 'When it was first stored.';

create index everflow_conversions_transaction on everflow_conversions (network_id, transaction_id);

create table everflow_conversion_versions (
    network_id text collate "C" not null,
    conversion_id text collate "C" not null,
    content_hash bytea not null,
    event_type text not null,
    layer smallint not null,
    version bigint,
    nth integer not null,
    content jsonb not null,
    received_at timestamptz not null default now(),
    constraint everflow_conversion_versions_key primary key (network_id, conversion_id, content_hash)
);
comment on table everflow_conversion_versions is 'Everflow: every distinct delivery about a conversion, updates that came before it too.';
comment on column everflow_conversion_versions.network_id is 'The network.';
comment on column everflow_conversion_versions.conversion_id is 'The conversion; it may not be here yet.';
comment on column everflow_conversion_versions.content_hash is 'Hash of the event type and the content.';
comment on column everflow_conversion_versions.event_type is 'What kind of delivery it was.';
comment on column everflow_conversion_versions.layer is 'What it is to the state: 0: a whole state, of which the latest counts; 1: one from the Firehose, which lies over that; 2: an update, whose fields lie over both.';
comment on column everflow_conversion_versions.version is 'The update_timestamp of an update; NULL: none, before all others.';
comment on column everflow_conversion_versions.nth is 'Its place among the versions of its key as they were stored, from 1. It orders those that have no version.';
comment on column everflow_conversion_versions.content is 'Its columns with their values, blank ones left out.';
comment on column everflow_conversion_versions.received_at is 'When it was stored.';

create table everflow_offers (
    network_id text collate "C" not null,
    offer_id text collate "C" not null,
    advertiser_id text collate "C",
    network_offer_group_id text collate "C",
    name text,
    thumbnail_url text,
    network_category_id text collate "C",
    internal_notes text,
    destination_url text,
    server_side_url text,
    is_view_through_enabled boolean,
    view_through_destination_url text,
    preview_url text,
    offer_status text,
    currency_id text collate "C",
    caps_timezone_id text collate "C",
    project_id text collate "C",
    date_live_until date,
    html_description text,
    is_using_explicit_terms_and_conditions boolean,
    terms_and_conditions text,
    is_force_terms_and_conditions boolean,
    is_caps_enabled boolean,
    daily_conversion_cap numeric,
    weekly_conversion_cap numeric,
    monthly_conversion_cap numeric,
    global_conversion_cap numeric,
    daily_payout_cap numeric,
    weekly_payout_cap numeric,
    monthly_payout_cap numeric,
    global_payout_cap numeric,
    daily_revenue_cap numeric,
    weekly_revenue_cap numeric,
    monthly_revenue_cap numeric,
    global_revenue_cap numeric,
    daily_click_cap numeric,
    weekly_click_cap numeric,
    monthly_click_cap numeric,
    global_click_cap numeric,
    redirect_mode text,
    is_using_suppression_list boolean,
    suppression_list_id text collate "C",
    is_must_approve_conversion boolean,
    is_allow_duplicate_conversion boolean,
    is_duplicate_filter_enabled boolean,
    duplicate_filter_targeting_action text,
    network_tracking_domain_id text collate "C",
    is_use_secure_link boolean,
    is_seo_friendly boolean,
    is_allow_deep_link boolean,
    is_session_tracking_enabled boolean,
    session_tracking_start_on text,
    session_tracking_lifespan_hour bigint,
    session_tracking_minimum_lifespan_second bigint,
    is_view_through_session_tracking_enabled boolean,
    view_through_session_tracking_lifespan_minute bigint,
    view_through_session_tracking_minimal_lifespan_second bigint,
    is_block_already_converted boolean,
    already_converted_action text,
    is_fail_traffic_enabled boolean,
    redirect_routing_method text,
    redirect_internal_routing_type text,
    visibility text,
    time_created bigint,
    time_saved bigint,
    conversion_method text,
    is_whitelist_check_enabled boolean,
    is_use_scrub_rate boolean,
    scrub_rate_status text,
    scrub_rate_percentage numeric,
    session_definition text,
    session_duration bigint,
    app_identifier text,
    is_description_plain_text boolean,
    is_use_direct_linking boolean,
    is_email_attribution_enabled boolean,
    email_attribution_method text,
    attribution_method text,
    relationship jsonb,
    extra jsonb,
    received_at timestamptz not null default now(),
    constraint everflow_offers_key primary key (network_id, offer_id)
);
comment on table everflow_offers is 'Everflow: offers, one row each, as they were last saved.';
comment on column everflow_offers.network_id is 'The network.';
comment on column everflow_offers.offer_id is 'The offer; network_offer_id in the feed.';
comment on column everflow_offers.advertiser_id is 'The advertiser; network_advertiser_id in the feed.';
comment on column everflow_offers.network_offer_group_id is 'The group of offers; 0: none.';
comment on column everflow_offers.name is 'Its name.';
comment on column everflow_offers.thumbnail_url is 'Its picture.';
comment on column everflow_offers.network_category_id is 'Its category.';
comment on column everflow_offers.internal_notes is 'Notes that only the network sees.';
comment on column everflow_offers.destination_url is 'Where a click leads.';
comment on column everflow_offers.server_side_url is 'Where a click is told by the server.';
comment on column everflow_offers.is_view_through_enabled is 'Whether impressions can convert.';
comment on column everflow_offers.view_through_destination_url is 'Where an impression leads.';
comment on column everflow_offers.preview_url is 'A page to look at.';
comment on column everflow_offers.offer_status is 'Its status, such as active.';
comment on column everflow_offers.currency_id is 'The currency of its amounts.';
comment on column everflow_offers.caps_timezone_id is 'The time zone of its caps.';
comment on column everflow_offers.project_id is 'The network''s own id of it.';
comment on column everflow_offers.date_live_until is 'The last day.';
comment on column everflow_offers.html_description is 'What partners read of it.';
comment on column everflow_offers.is_using_explicit_terms_and_conditions is 'Whether it has terms of its own.';
comment on column everflow_offers.terms_and_conditions is 'Its terms.';
comment on column everflow_offers.is_force_terms_and_conditions is 'Whether they must be accepted.';
comment on column everflow_offers.is_caps_enabled is 'Whether the caps hold.';
comment on column everflow_offers.daily_conversion_cap is 'The most conversions a day; 0: no cap.';
comment on column everflow_offers.weekly_conversion_cap is 'The most conversions a week; 0: no cap.';
comment on column everflow_offers.monthly_conversion_cap is 'The most conversions a month; 0: no cap.';
comment on column everflow_offers.global_conversion_cap is 'The most conversions in all; 0: no cap.';
comment on column everflow_offers.daily_payout_cap is 'The most payout a day; 0: no cap.';
comment on column everflow_offers.weekly_payout_cap is 'The most payout a week; 0: no cap.';
comment on column everflow_offers.monthly_payout_cap is 'The most payout a month; 0: no cap.';
comment on column everflow_offers.global_payout_cap is 'The most payout in all; 0: no cap.';
comment on column everflow_offers.daily_revenue_cap is 'The most revenue a day; 0: no cap.';
comment on column everflow_offers.weekly_revenue_cap is 'The most revenue a week; 0: no cap.';
comment on column everflow_offers.monthly_revenue_cap is 'The most revenue a month; 0: no cap.';
comment on column everflow_offers.global_revenue_cap is 'The most revenue in all; 0: no cap.';
comment on column everflow_offers.daily_click_cap is 'The most clicks a day; 0: no cap.';
comment on column everflow_offers.weekly_click_cap is 'The most clicks a week; 0: no cap.';
comment on column everflow_offers.monthly_click_cap is 'The most clicks a month; 0: no cap.';
comment on column everflow_offers.global_click_cap is 'The most clicks in all; 0: no cap.';
comment on column everflow_offers.redirect_mode is 'How a click is redirected.';
comment on column everflow_offers.is_using_suppression_list is 'Whether it has a suppression list.';
comment on column everflow_offers.suppression_list_id is 'The suppression list; 0: none.';
comment on column everflow_offers.is_must_approve_conversion is 'Whether conversions wait for approval.';
comment on column everflow_offers.is_allow_duplicate_conversion is 'Whether a click may convert more than once.';
comment on column everflow_offers.is_duplicate_filter_enabled is 'Whether duplicate clicks are filtered.';
comment on column everflow_offers.duplicate_filter_targeting_action is 'What is done with duplicate clicks.';
comment on column everflow_offers.network_tracking_domain_id is 'The tracking domain.';
comment on column everflow_offers.is_use_secure_link is 'Whether links are https.';
comment on column everflow_offers.is_seo_friendly is 'Whether links are for search engines.';
comment on column everflow_offers.is_allow_deep_link is 'Whether deep links are allowed.';
comment on column everflow_offers.is_session_tracking_enabled is 'Whether sessions are tracked.';
comment on column everflow_offers.session_tracking_start_on is 'What starts a session.';
comment on column everflow_offers.session_tracking_lifespan_hour is 'Hours that a session lasts.';
comment on column everflow_offers.session_tracking_minimum_lifespan_second is 'Seconds before which nothing converts.';
comment on column everflow_offers.is_view_through_session_tracking_enabled is 'Whether sessions of impressions are tracked.';
comment on column everflow_offers.view_through_session_tracking_lifespan_minute is 'Minutes that the session of an impression lasts.';
comment on column everflow_offers.view_through_session_tracking_minimal_lifespan_second is 'Seconds before which no impression converts.';
comment on column everflow_offers.is_block_already_converted is 'Whether those who converted are blocked.';
comment on column everflow_offers.already_converted_action is 'What is done with those who converted.';
comment on column everflow_offers.is_fail_traffic_enabled is 'Whether traffic that fails is sent elsewhere.';
comment on column everflow_offers.redirect_routing_method is 'How it is sent elsewhere.';
comment on column everflow_offers.redirect_internal_routing_type is 'To which of the network''s offers.';
comment on column everflow_offers.visibility is 'Who sees it.';
comment on column everflow_offers.time_created is 'When it was made, seconds since 1970 (UTC).';
comment on column everflow_offers.time_saved is 'When it was last saved, seconds since 1970 (UTC). It orders the versions.';
comment on column everflow_offers.conversion_method is 'How conversions are told.';
comment on column everflow_offers.is_whitelist_check_enabled is 'Whether those who tell conversions are checked.';
comment on column everflow_offers.is_use_scrub_rate is 'Whether some conversions are scrubbed.';
comment on column everflow_offers.scrub_rate_status is 'The status that scrubbed ones get.';
comment on column everflow_offers.scrub_rate_percentage is 'How many are scrubbed, in percent.';
comment on column everflow_offers.session_definition is 'What makes a session, such as cookie.';
comment on column everflow_offers.session_duration is 'Hours of a session.';
comment on column everflow_offers.app_identifier is 'The app in its store.';
comment on column everflow_offers.is_description_plain_text is 'Whether the description is plain text.';
comment on column everflow_offers.is_use_direct_linking is 'Whether links lead to the advertiser at once.';
comment on column everflow_offers.is_email_attribution_enabled is 'Whether e-mail addresses attribute.';
comment on column everflow_offers.email_attribution_method is 'How they do.';
comment on column everflow_offers.attribution_method is 'How conversions are attributed, such as last_touch.';
comment on column everflow_offers.relationship is 'What belongs to it as Everflow has it: category, labels, payouts, channels, meta and others. Lists are {total, entries}.';
comment on column everflow_offers.extra is 'Fields without a column and values that do not fit theirs, by their own names; NULL: none.';
comment on column everflow_offers.received_at is 'When it was first stored.';

create table everflow_offer_versions (
    network_id text collate "C" not null,
    offer_id text collate "C" not null,
    content_hash bytea not null,
    event_type text not null,
    layer smallint not null,
    version bigint,
    nth integer not null,
    content jsonb not null,
    received_at timestamptz not null default now(),
    constraint everflow_offer_versions_key primary key (network_id, offer_id, content_hash)
);
comment on table everflow_offer_versions is 'Everflow: every distinct delivery about an offer.';
comment on column everflow_offer_versions.network_id is 'The network.';
comment on column everflow_offer_versions.offer_id is 'The offer.';
comment on column everflow_offer_versions.content_hash is 'Hash of the event type and the content.';
comment on column everflow_offer_versions.event_type is 'What kind of delivery it was.';
comment on column everflow_offer_versions.layer is 'What it is to the state: 0: a whole state, of which the latest counts; 1: one from the Firehose, which lies over that; 2: an update, whose fields lie over both.';
comment on column everflow_offer_versions.version is 'Its time_saved; NULL: none, before all others.';
comment on column everflow_offer_versions.nth is 'Its place among the versions of its key as they were stored, from 1. It orders those that have no version.';
comment on column everflow_offer_versions.content is 'Its columns with their values, blank ones left out.';
comment on column everflow_offer_versions.received_at is 'When it was stored.';

create table everflow_clicks (
    network_id text collate "C" not null,
    transaction_id text collate "C" not null,
    unix_timestamp bigint,
    offer_id text collate "C",
    affiliate_id text collate "C",
    advertiser_id text collate "C",
    offer_url_id text collate "C",
    source_id text collate "C",
    sub1 text,
    sub2 text,
    sub3 text,
    sub4 text,
    sub5 text,
    sub6 text,
    sub7 text,
    sub8 text,
    sub9 text,
    sub10 text,
    payout numeric,
    revenue numeric,
    cost numeric,
    currency_id text collate "C",
    referer text,
    is_test_mode boolean,
    country_code text,
    session_id text collate "C",
    coupon_code text,
    query_parameters jsonb,
    extra jsonb,
    content_hash bytea not null,
    received_at timestamptz not null default now(),
    constraint everflow_clicks_key primary key (network_id, transaction_id)
);
comment on table everflow_clicks is 'Everflow Firehose: clicks, one row each. What came first stays.';
comment on column everflow_clicks.network_id is 'The network.';
comment on column everflow_clicks.transaction_id is 'Everflow''s id of the click.';
comment on column everflow_clicks.unix_timestamp is 'When it happened, seconds since 1970 (UTC).';
comment on column everflow_clicks.offer_id is 'The offer; network_offer_id in the feed.';
comment on column everflow_clicks.affiliate_id is 'The affiliate; network_affiliate_id in the feed.';
comment on column everflow_clicks.advertiser_id is 'The advertiser; network_advertiser_id in the feed.';
comment on column everflow_clicks.offer_url_id is 'The offer''s URL; network_offer_url_id in the feed.';
comment on column everflow_clicks.source_id is 'The affiliate''s source of the traffic.';
comment on column everflow_clicks.sub1 is 'The affiliate''s parameter 1.';
comment on column everflow_clicks.sub2 is 'The affiliate''s parameter 2.';
comment on column everflow_clicks.sub3 is 'The affiliate''s parameter 3.';
comment on column everflow_clicks.sub4 is 'The affiliate''s parameter 4.';
comment on column everflow_clicks.sub5 is 'The affiliate''s parameter 5.';
comment on column everflow_clicks.sub6 is 'The affiliate''s parameter 6.';
comment on column everflow_clicks.sub7 is 'The affiliate''s parameter 7.';
comment on column everflow_clicks.sub8 is 'The affiliate''s parameter 8.';
comment on column everflow_clicks.sub9 is 'The affiliate''s parameter 9.';
comment on column everflow_clicks.sub10 is 'The affiliate''s parameter 10.';
comment on column everflow_clicks.payout is 'What the affiliate is paid for it.';
comment on column everflow_clicks.revenue is 'What the advertiser pays for it.';
comment on column everflow_clicks.cost is 'What it cost.';
comment on column everflow_clicks.currency_id is 'The currency of the amounts.';
comment on column everflow_clicks.referer is 'The page that led there.';
comment on column everflow_clicks.is_test_mode is 'Whether it was a test.';
comment on column everflow_clicks.country_code is 'The country''s code.';
comment on column everflow_clicks.session_id is 'The session.';
comment on column everflow_clicks.coupon_code is 'The coupon.';
comment on column everflow_clicks.query_parameters is 'The parameters of the URL.';
comment on column everflow_clicks.extra is 'Fields without a column and values that do not fit theirs, by their own names; NULL: none.';
comment on column everflow_clicks.content_hash is 'Hash of the content.';
comment on column everflow_clicks.received_at is 'When it was stored.';

create table everflow_impressions (
    network_id text collate "C" not null,
    transaction_id text collate "C" not null,
    unix_timestamp bigint,
    offer_id text collate "C",
    affiliate_id text collate "C",
    advertiser_id text collate "C",
    offer_url_id text collate "C",
    source_id text collate "C",
    sub1 text,
    sub2 text,
    sub3 text,
    sub4 text,
    sub5 text,
    sub6 text,
    sub7 text,
    sub8 text,
    sub9 text,
    sub10 text,
    payout numeric,
    revenue numeric,
    cost numeric,
    currency_id text collate "C",
    referer text,
    is_test_mode boolean,
    country_code text,
    session_id text collate "C",
    coupon_code text,
    query_parameters jsonb,
    extra jsonb,
    content_hash bytea not null,
    received_at timestamptz not null default now(),
    constraint everflow_impressions_key primary key (network_id, transaction_id)
);
comment on table everflow_impressions is 'Everflow Firehose: impressions, one row each. What came first stays.';
comment on column everflow_impressions.network_id is 'The network.';
comment on column everflow_impressions.transaction_id is 'Everflow''s id of the impression.';
comment on column everflow_impressions.unix_timestamp is 'When it happened, seconds since 1970 (UTC).';
comment on column everflow_impressions.offer_id is 'The offer; network_offer_id in the feed.';
comment on column everflow_impressions.affiliate_id is 'The affiliate; network_affiliate_id in the feed.';
comment on column everflow_impressions.advertiser_id is 'The advertiser; network_advertiser_id in the feed.';
comment on column everflow_impressions.offer_url_id is 'The offer''s URL; network_offer_url_id in the feed.';
comment on column everflow_impressions.source_id is 'The affiliate''s source of the traffic.';
comment on column everflow_impressions.sub1 is 'The affiliate''s parameter 1.';
comment on column everflow_impressions.sub2 is 'The affiliate''s parameter 2.';
comment on column everflow_impressions.sub3 is 'The affiliate''s parameter 3.';
comment on column everflow_impressions.sub4 is 'The affiliate''s parameter 4.';
comment on column everflow_impressions.sub5 is 'The affiliate''s parameter 5.';
comment on column everflow_impressions.sub6 is 'The affiliate''s parameter 6.';
comment on column everflow_impressions.sub7 is 'The affiliate''s parameter 7.';
comment on column everflow_impressions.sub8 is 'The affiliate''s parameter 8.';
comment on column everflow_impressions.sub9 is 'The affiliate''s parameter 9.';
comment on column everflow_impressions.sub10 is 'The affiliate''s parameter 10.';
comment on column everflow_impressions.payout is 'What the affiliate is paid for it.';
comment on column everflow_impressions.revenue is 'What the advertiser pays for it.';
comment on column everflow_impressions.cost is 'What it cost.';
comment on column everflow_impressions.currency_id is 'The currency of the amounts.';
comment on column everflow_impressions.referer is 'The page that led there.';
comment on column everflow_impressions.is_test_mode is 'Whether it was a test.';
comment on column everflow_impressions.country_code is 'The country''s code.';
comment on column everflow_impressions.session_id is 'The session.';
comment on column everflow_impressions.coupon_code is 'The coupon.';
comment on column everflow_impressions.query_parameters is 'The parameters of the URL.';
comment on column everflow_impressions.extra is 'Fields without a column and values that do not fit theirs, by their own names; NULL: none.';
comment on column everflow_impressions.content_hash is 'Hash of the content.';
comment on column everflow_impressions.received_at is 'When it was stored.';

create table everflow_other (
    network_id text collate "C" not null,
    event_type text collate "C" not null,
    id text collate "C",
    content_hash bytea not null,
    body jsonb,
    received_at timestamptz not null default now(),
    constraint everflow_other_key primary key (network_id, event_type, content_hash)
);
comment on table everflow_other is 'Everflow: deliveries that have no table of their own, each distinct one once.';
comment on column everflow_other.network_id is 'The network.';
comment on column everflow_other.event_type is 'What kind of delivery it was: a webhook''s event type; click_variant, impression_variant: another content of a click or impression that is there.';
comment on column everflow_other.id is 'Whom or what it is about: the advertiser, the affiliate, the click; NULL: not known.';
comment on column everflow_other.content_hash is 'Hash of the content.';
comment on column everflow_other.body is 'The delivery; of a variant its columns with their values.';
comment on column everflow_other.received_at is 'When it was stored.';

create index everflow_other_id on everflow_other (network_id, event_type, id);
