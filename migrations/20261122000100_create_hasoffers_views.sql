-- What people query: the current state, and what does not fit it. No view casts text or calls to_timestamp: one odd
-- value would break it for everybody.

-- The current state of each conversion record whose original is here: original combined with patch. `c` is what the
-- original itself adds to the totals: a create its own amounts, a standard conversion only if it was approved at birth,
-- because the approval of another arrives as a positive difference.
-- Differences and current values are never added together.
create view conversions as
select
    e.network_id,
    e.event_id,
    e.record_id,
    e.tune_event_id,
    e.action,
    e.adjust_action,
    e.event_day,
    e.adjustment_sequence_id,
    e.adjustment_timestamp,
    e.created_timestamp,
    e.offer_id,
    e.affiliate_id,
    e.advertiser_id,
    e.affiliate_manager_id,
    e.advertiser_manager_id,
    e.goal_id,
    e.creative_url_id,
    e.offer_file_id,
    e.offer_url_id,
    e.ad_campaign_id,
    e.ad_campaign_creative_id,
    e.customer_id,
    e.browser_id,
    e.conversion_id,
    e.payout_group_id,
    e.revenue_group_id,
    e.batch_timestamp,
    coalesce(p.status_code, e.status_code) as status_code,
    e.hour,
    e.created_from_adjustment,
    e.update_stats,
    e.is_adjustment,
    e.is_scrubed,
    e.date,
    e.datetime,
    coalesce(p.session_datetime, e.session_datetime) as session_datetime,
    e.num,
    case
        when p.current_payout is not null then p.current_payout
        when p.payout <> 0 then c.payout + p.payout
        else e.payout
    end as payout,
    case
        when p.current_revenue is not null then p.current_revenue
        when p.revenue <> 0 then c.revenue + p.revenue
        else e.revenue
    end as revenue,
    e.sale_amount,
    e.payout_cents,
    e.revenue_cents,
    e.sale_cents,
    coalesce(p.current_payout, e.current_payout) as current_payout,
    coalesce(p.current_revenue, e.current_revenue) as current_revenue,
    e.transaction_id,
    coalesce(p.status, e.status) as status,
    coalesce(p.ip, e.ip) as ip,
    coalesce(p.session_ip, e.session_ip) as session_ip,
    coalesce(p.user_agent, e.user_agent) as user_agent,
    coalesce(p.refer, e.refer) as refer,
    coalesce(p.pixel_refer, e.pixel_refer) as pixel_refer,
    coalesce(p.note, e.note) as note,
    e.timezone,
    e.currency,
    e.country_code,
    e.payout_type,
    e.revenue_type,
    e.source,
    e.aff_sub,
    e.aff_sub2,
    e.aff_sub3,
    e.aff_sub4,
    e.aff_sub5,
    e.affiliate_unique1,
    e.affiliate_unique2,
    e.affiliate_unique3,
    e.affiliate_unique4,
    e.affiliate_unique5,
    e.affiliate_click_id,
    e.adv_sub,
    e.adv_sub2,
    e.adv_sub3,
    e.adv_sub4,
    e.adv_sub5,
    e.adv_unique1,
    e.adv_unique2,
    e.adv_unique3,
    e.adv_unique4,
    e.adv_unique5,
    e.order_id,
    e.sku_id,
    e.promo_code,
    e.product_category,
    e.app_version,
    e.affiliate_source,
    e.affiliate_sub1,
    e.affiliate_sub2,
    e.affiliate_sub3,
    e.affiliate_sub4,
    e.affiliate_sub5,
    e.url,
    e.region_code,
    e.city_name,
    e.event_region,
    e.event_city,
    e.device_brand,
    e.device_model,
    e.device_os,
    e.device_os_version,
    e.mobile_carrier,
    e.device_id,
    e.device_id_md5,
    e.device_id_sha1,
    e.android_id,
    e.android_id_md5,
    e.android_id_sha1,
    e.google_aid,
    e.google_aid_md5,
    e.google_aid_sha1,
    e.ios_ifa,
    e.ios_ifa_md5,
    e.ios_ifa_sha1,
    e.ios_ifv,
    e.ios_ifv_md5,
    e.ios_ifv_sha1,
    e.windows_aid,
    e.windows_aid_md5,
    e.windows_aid_sha1,
    e.mac_address,
    e.mac_address_md5,
    e.mac_address_sha1,
    e.unknown_id,
    e.unknown_id_md5,
    e.unknown_id_sha1,
    e.user_id,
    e.user_id_md5,
    e.user_id_sha1,
    e.odin,
    e.fraud_reason_data,
    e.batch_date_utc,
    e.internal_ad_id,
    e.extra,
    e.content_hash,
    e.dispatch_timestamp,
    e.received_at,
    c.num + coalesce(p.num, 0) as net_num,
    c.payout + coalesce(p.payout, 0) as net_payout,
    c.revenue + coalesce(p.revenue, 0) as net_revenue,
    c.sale_amount + coalesce(p.sale_amount, 0) as net_sale_amount,
    coalesce(p.adjustment_count, 0) as adjustment_count,
    p.last_adjustment_sequence_id,
    p.last_adjusted_at
from events_conversions e
left join record_patches p on p.network_id = e.network_id and p.record_id = e.record_id
cross join lateral (
    select
        case when counts then coalesce(e.num, 1) else 0 end as num,
        case when counts then coalesce(e.payout, 0) else 0 end as payout,
        case when counts then coalesce(e.revenue, 0) else 0 end as revenue,
        case when counts then coalesce(e.sale_amount, 0) else 0 end as sale_amount
    from (select e.adjust_action is not null or e.status is null or e.status = 'approved' as counts) k
) c
where not exists (
    select from events_conversions least
    where least.network_id = e.network_id and least.record_id = e.record_id
        and (least.adjust_action is not null, least.event_id) < (e.adjust_action is not null, e.event_id)
);

-- Of several originals of one record the least is the conversion (standard before create, then event_id); these are
-- the others.
create view duplicate_originals as
select e.* from events_conversions e
where exists (
    select from events_conversions least
    where least.network_id = e.network_id and least.record_id = e.record_id
        and (least.adjust_action is not null, least.event_id) < (e.adjust_action is not null, e.event_id)
);

-- Conversion adjustments whose record has no original, yet or ever. Their differences count in stats all the same.
create view orphan_adjustments as
select a.* from adjustments a
where a.action = 'conversion' and a.tune_event_id is not null
    and not exists (
        select from events_conversions e
        where e.network_id = a.network_id and e.record_id = a.record_id
    );

-- The contribution of every fact by its own fields: the shape of TUNE's stats report. A condition on `date` reaches the
-- partitions of its days.
create view stats as
select
    network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency,
    coalesce(sum(num) filter (where action = 'impression'), 0) as impressions,
    coalesce(sum(num) filter (where action = 'click'), 0) as clicks,
    coalesce(sum(num) filter (where action = 'conversion'), 0) as conversions,
    sum(payout) as payout, sum(revenue) as revenue, sum(sale_amount) as sale_amount
from (
    select network_id, partition_day as date, hour, coalesce(offer_id, 0) as offer_id, coalesce(affiliate_id, 0) as affiliate_id,
        coalesce(advertiser_id, 0) as advertiser_id, coalesce(goal_id, 0) as goal_id, currency, action,
        coalesce(num, 1) as num, coalesce(payout, 0) as payout, coalesce(revenue, 0) as revenue,
        coalesce(sale_amount, 0) as sale_amount
    from events
    where partition_day > '0001-01-01' and (adjust_action is not null or status is null or status = 'approved')
    union all
    select network_id, event_day as date, hour, coalesce(offer_id, 0) as offer_id, coalesce(affiliate_id, 0) as affiliate_id,
        coalesce(advertiser_id, 0) as advertiser_id, coalesce(goal_id, 0) as goal_id, currency, action,
        coalesce(num, 1) as num, coalesce(payout, 0) as payout, coalesce(revenue, 0) as revenue,
        coalesce(sale_amount, 0) as sale_amount
    from events_conversions
    where adjust_action is not null or status is null or status = 'approved'
    union all
    select network_id, event_day as date, hour, coalesce(offer_id, 0) as offer_id, coalesce(affiliate_id, 0) as affiliate_id,
        coalesce(advertiser_id, 0) as advertiser_id, coalesce(goal_id, 0) as goal_id, currency, action,
        coalesce(num, 0) as num, coalesce(payout, 0) as payout, coalesce(revenue, 0) as revenue,
        coalesce(sale_amount, 0) as sale_amount
    from adjustments
    where update_stats is distinct from false
) facts
group by network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency;
