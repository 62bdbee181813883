//! The columns of Everflow's tables beside the keys, and the names that Everflow has for them.

use crate::formats::row::Kind::{Boolean, Date, Decimal, Id, Integer, Json, Money, Text};
use crate::formats::row::{self, Field, field};

/// Everflow's names of what has another one here: the same thing is called the same in every table.
pub const RENAMED: [(&str, &str); 7] = [
    ("network_offer_id", "offer_id"),
    ("network_advertiser_id", "advertiser_id"),
    ("network_affiliate_id", "affiliate_id"),
    ("network_offer_url_id", "offer_url_id"),
    ("conversion_status", "status"),
    ("event_name", "event"),
    ("conversion_timestamp", "conversion_unix_timestamp"),
];

/// Text of conversions, clicks and impressions that says nothing of a person. Whom the network deals with is no secret of it.
const OPEN: [&str; 20] = [
    "status",
    "event",
    "currency_id",
    "payout_type",
    "revenue_type",
    "country",
    "country_code",
    "notes",
    "previous_network_offer_id",
    "network_offer_payout_revenue_id",
    "offer_id",
    "offer_name",
    "offer_status",
    "offer_url_id",
    "advertiser_id",
    "advertiser_name",
    "affiliate_id",
    "affiliate_name",
    "date",
    "click_date",
];

/// The columns of conversions that may hold something about a person.
pub fn personal_of_conversions() -> impl Iterator<Item = &'static str> {
    row::personal(&CONVERSION, &OPEN)
}

/// Those of clicks and impressions. Their key is none of them: it is what a click is known by.
pub fn personal_of_clicks() -> impl Iterator<Item = &'static str> {
    row::personal(&CLICK, &OPEN)
}

/// Of `everflow_conversions`: the fields of webhooks and of the Firehose.
pub const CONVERSION: [Field; 82] = [
    field("transaction_id", Id),
    field("conversion_unix_timestamp", Integer),
    field("status", Text),
    field("click_unix_timestamp", Integer),
    field("is_event", Boolean),
    field("event", Text),
    field("is_view_through", Boolean),
    field("currency_id", Id),
    field("payout", Money),
    field("revenue", Money),
    field("payout_type", Text),
    field("revenue_type", Text),
    field("sale_amount", Money),
    field("coupon_code", Text),
    field("order_id", Id),
    field("sub1", Text),
    field("sub2", Text),
    field("sub3", Text),
    field("sub4", Text),
    field("sub5", Text),
    field("sub6", Text),
    field("sub7", Text),
    field("sub8", Text),
    field("sub9", Text),
    field("sub10", Text),
    field("adv1", Text),
    field("adv2", Text),
    field("adv3", Text),
    field("adv4", Text),
    field("adv5", Text),
    field("adv6", Text),
    field("adv7", Text),
    field("adv8", Text),
    field("adv9", Text),
    field("adv10", Text),
    field("source_id", Id),
    field("email", Text),
    field("country", Text),
    field("region", Text),
    field("city", Text),
    field("dma", Text),
    field("session_user_ip", Text),
    field("conversion_user_ip", Text),
    field("carrier", Text),
    field("platform", Text),
    field("os_version", Text),
    field("device_type", Text),
    field("device_model", Text),
    field("brand", Text),
    field("browser", Text),
    field("language", Text),
    field("http_user_agent", Text),
    field("idfa", Text),
    field("idfa_md5", Text),
    field("idfa_sha1", Text),
    field("google_ad_id", Id),
    field("google_ad_id_md5", Text),
    field("google_ad_id_sha1", Text),
    field("android_id", Id),
    field("android_id_md5", Text),
    field("android_id_sha1", Text),
    field("url", Text),
    field("isp", Text),
    field("referer", Text),
    field("app_id", Id),
    field("notes", Text),
    field("error_code", Integer),
    field("error_message", Text),
    field("previous_network_offer_id", Id),
    field("network_offer_payout_revenue_id", Id),
    field("offer_id", Id),
    field("offer_name", Text),
    field("offer_status", Text),
    field("advertiser_id", Id),
    field("advertiser_name", Text),
    field("affiliate_id", Id),
    field("affiliate_name", Text),
    field("query_parameters", Json),
    field("date", Text),
    field("click_date", Text),
    field("offer_url_id", Id),
    field("update_timestamp", Integer),
];

/// Of `everflow_clicks` and `everflow_impressions`.
pub const CLICK: [Field; 26] = [
    field("unix_timestamp", Integer),
    field("offer_id", Id),
    field("affiliate_id", Id),
    field("advertiser_id", Id),
    field("offer_url_id", Id),
    field("source_id", Id),
    field("sub1", Text),
    field("sub2", Text),
    field("sub3", Text),
    field("sub4", Text),
    field("sub5", Text),
    field("sub6", Text),
    field("sub7", Text),
    field("sub8", Text),
    field("sub9", Text),
    field("sub10", Text),
    field("payout", Money),
    field("revenue", Money),
    field("cost", Money),
    field("currency_id", Id),
    field("referer", Text),
    field("is_test_mode", Boolean),
    field("country_code", Text),
    field("session_id", Id),
    field("coupon_code", Text),
    field("query_parameters", Json),
];

/// Of `everflow_offers`.
pub const OFFER: [Field; 77] = [
    field("advertiser_id", Id),
    field("network_offer_group_id", Id),
    field("name", Text),
    field("thumbnail_url", Text),
    field("network_category_id", Id),
    field("internal_notes", Text),
    field("destination_url", Text),
    field("server_side_url", Text),
    field("is_view_through_enabled", Boolean),
    field("view_through_destination_url", Text),
    field("preview_url", Text),
    field("offer_status", Text),
    field("currency_id", Id),
    field("caps_timezone_id", Id),
    field("project_id", Id),
    field("date_live_until", Date),
    field("html_description", Text),
    field("is_using_explicit_terms_and_conditions", Boolean),
    field("terms_and_conditions", Text),
    field("is_force_terms_and_conditions", Boolean),
    field("is_caps_enabled", Boolean),
    field("daily_conversion_cap", Decimal),
    field("weekly_conversion_cap", Decimal),
    field("monthly_conversion_cap", Decimal),
    field("global_conversion_cap", Decimal),
    field("daily_payout_cap", Decimal),
    field("weekly_payout_cap", Decimal),
    field("monthly_payout_cap", Decimal),
    field("global_payout_cap", Decimal),
    field("daily_revenue_cap", Decimal),
    field("weekly_revenue_cap", Decimal),
    field("monthly_revenue_cap", Decimal),
    field("global_revenue_cap", Decimal),
    field("daily_click_cap", Decimal),
    field("weekly_click_cap", Decimal),
    field("monthly_click_cap", Decimal),
    field("global_click_cap", Decimal),
    field("redirect_mode", Text),
    field("is_using_suppression_list", Boolean),
    field("suppression_list_id", Id),
    field("is_must_approve_conversion", Boolean),
    field("is_allow_duplicate_conversion", Boolean),
    field("is_duplicate_filter_enabled", Boolean),
    field("duplicate_filter_targeting_action", Text),
    field("network_tracking_domain_id", Id),
    field("is_use_secure_link", Boolean),
    field("is_seo_friendly", Boolean),
    field("is_allow_deep_link", Boolean),
    field("is_session_tracking_enabled", Boolean),
    field("session_tracking_start_on", Text),
    field("session_tracking_lifespan_hour", Integer),
    field("session_tracking_minimum_lifespan_second", Integer),
    field("is_view_through_session_tracking_enabled", Boolean),
    field("view_through_session_tracking_lifespan_minute", Integer),
    field(
        "view_through_session_tracking_minimal_lifespan_second",
        Integer,
    ),
    field("is_block_already_converted", Boolean),
    field("already_converted_action", Text),
    field("is_fail_traffic_enabled", Boolean),
    field("redirect_routing_method", Text),
    field("redirect_internal_routing_type", Text),
    field("visibility", Text),
    field("time_created", Integer),
    field("time_saved", Integer),
    field("conversion_method", Text),
    field("is_whitelist_check_enabled", Boolean),
    field("is_use_scrub_rate", Boolean),
    field("scrub_rate_status", Text),
    field("scrub_rate_percentage", Decimal),
    field("session_definition", Text),
    field("session_duration", Integer),
    field("app_identifier", Text),
    field("is_description_plain_text", Boolean),
    field("is_use_direct_linking", Boolean),
    field("is_email_attribution_enabled", Boolean),
    field("email_attribution_method", Text),
    field("attribution_method", Text),
    field("relationship", Json),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_a_person_is_text_of_a_column() {
        for name in OPEN {
            let mut fields = CONVERSION.iter().chain(&CLICK);
            let field = fields.find(|field| field.column == name);
            let kind = field.map(|field| field.kind);
            assert!(matches!(kind, Some(Id | Text)), "{name}: {kind:?}");
        }
    }

    #[test]
    fn all_other_text_may_be_about_a_person() {
        let of_clicks: Vec<&str> = personal_of_clicks().collect();
        assert_eq!(of_clicks.len(), 15);
        for name in [
            "source_id",
            "sub10",
            "referer",
            "session_id",
            "query_parameters",
        ] {
            assert!(of_clicks.contains(&name), "{name}");
        }
        let of_conversions: Vec<&str> = personal_of_conversions().collect();
        for name in [
            "transaction_id",
            "email",
            "adv1",
            "conversion_user_ip",
            "query_parameters",
        ] {
            assert!(of_conversions.contains(&name), "{name}");
        }
        for name in [
            "payout",
            "status",
            "affiliate_id",
            "conversion_unix_timestamp",
        ] {
            assert!(!of_conversions.contains(&name), "{name}");
        }
    }
}
