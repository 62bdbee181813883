//! Every known field of a HasOffers event: its name (which is its column), its type and its part in the fold.

use crate::formats::value::Type;

/// What the fold of a record's ledger does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// In an adjustment a signed difference: summed exactly. It must be right, or the event is quarantined.
    Delta,
    /// The value of the greatest adjustment in which it is not blank, else the original's.
    State,
    /// The original's, always.
    Fixed,
}

/// One known field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// TUNE's name, and the column's.
    pub name: &'static str,
    pub kind: Type,
    pub class: Class,
}

/// Text that says nothing of a person. All other text may: an address, a device, a user, a URL, a parameter of a partner.
const OPEN: [&str; 14] = [
    "record_id",
    "tune_event_id",
    "action",
    "adjust_action",
    "event_day",
    "status",
    "note",
    "timezone",
    "currency",
    "country_code",
    "payout_type",
    "revenue_type",
    "sku_id",
    "product_category",
];

/// Whether a field of this name may hold something about a person. What is no known field may.
pub fn is_personal(name: &str) -> bool {
    let is_text = FIELDS
        .iter()
        .find(|field| field.name == name)
        .is_none_or(|field| matches!(field.kind, Type::Text | Type::Key));
    is_text && !OPEN.contains(&name)
}

/// The known fields that may hold something about a person.
pub fn personal() -> impl Iterator<Item = &'static str> {
    FIELDS
        .iter()
        .map(|field| field.name)
        .filter(|name| is_personal(name))
}

const fn field(name: &'static str, kind: Type, class: Class) -> Field {
    Field { name, kind, class }
}

use Class::{Delta, Fixed, State};
use Type::{Amount, BigInt, Boolean, Date, Integer, Key, SmallInt, Text, Timestamp};

/// The known fields, in the order of their columns. A field's position is part of every content hash in the database:
/// new ones go to the end.
pub const FIELDS: [Field; 125] = [
    field("adjustment_sequence_id", BigInt, Fixed),
    field("adjustment_timestamp", BigInt, Fixed),
    field("created_timestamp", BigInt, Fixed),
    field("offer_id", BigInt, Fixed),
    field("affiliate_id", BigInt, Fixed),
    field("advertiser_id", BigInt, Fixed),
    field("affiliate_manager_id", BigInt, Fixed),
    field("advertiser_manager_id", BigInt, Fixed),
    field("goal_id", BigInt, Fixed),
    field("creative_url_id", BigInt, Fixed),
    field("offer_file_id", BigInt, Fixed),
    field("offer_url_id", BigInt, Fixed),
    field("ad_campaign_id", BigInt, Fixed),
    field("ad_campaign_creative_id", BigInt, Fixed),
    field("customer_id", BigInt, Fixed),
    field("browser_id", BigInt, Fixed),
    field("conversion_id", BigInt, Fixed),
    field("payout_group_id", BigInt, Fixed),
    field("revenue_group_id", BigInt, Fixed),
    field("batch_timestamp", BigInt, Fixed),
    field("status_code", Integer, State),
    field("hour", SmallInt, Fixed),
    field("created_from_adjustment", Boolean, Fixed),
    field("update_stats", Boolean, Fixed),
    field("is_adjustment", Boolean, Fixed),
    field("is_scrubed", Boolean, Fixed),
    field("date", Date, Fixed),
    field("datetime", Timestamp, Fixed),
    field("session_datetime", Timestamp, State),
    field("num", Amount, Delta),
    field("payout", Amount, Delta),
    field("revenue", Amount, Delta),
    field("sale_amount", Amount, Delta),
    field("payout_cents", Amount, Delta),
    field("revenue_cents", Amount, Delta),
    field("sale_cents", Amount, Delta),
    field("current_payout", Amount, State),
    field("current_revenue", Amount, State),
    field("transaction_id", Key, Fixed),
    field("status", Text, State),
    field("ip", Text, State),
    field("session_ip", Text, State),
    field("user_agent", Text, State),
    field("refer", Text, State),
    field("pixel_refer", Text, State),
    field("note", Text, State),
    field("timezone", Text, Fixed),
    field("currency", Text, Fixed),
    field("country_code", Text, Fixed),
    field("payout_type", Text, Fixed),
    field("revenue_type", Text, Fixed),
    field("source", Text, Fixed),
    field("aff_sub", Text, Fixed),
    field("aff_sub2", Text, Fixed),
    field("aff_sub3", Text, Fixed),
    field("aff_sub4", Text, Fixed),
    field("aff_sub5", Text, Fixed),
    field("affiliate_unique1", Text, Fixed),
    field("affiliate_unique2", Text, Fixed),
    field("affiliate_unique3", Text, Fixed),
    field("affiliate_unique4", Text, Fixed),
    field("affiliate_unique5", Text, Fixed),
    field("affiliate_click_id", Text, Fixed),
    field("adv_sub", Text, Fixed),
    field("adv_sub2", Text, Fixed),
    field("adv_sub3", Text, Fixed),
    field("adv_sub4", Text, Fixed),
    field("adv_sub5", Text, Fixed),
    field("adv_unique1", Text, Fixed),
    field("adv_unique2", Text, Fixed),
    field("adv_unique3", Text, Fixed),
    field("adv_unique4", Text, Fixed),
    field("adv_unique5", Text, Fixed),
    field("order_id", Text, Fixed),
    field("sku_id", Text, Fixed),
    field("promo_code", Text, Fixed),
    field("product_category", Text, Fixed),
    field("app_version", Text, Fixed),
    field("affiliate_source", Text, Fixed),
    field("affiliate_sub1", Text, Fixed),
    field("affiliate_sub2", Text, Fixed),
    field("affiliate_sub3", Text, Fixed),
    field("affiliate_sub4", Text, Fixed),
    field("affiliate_sub5", Text, Fixed),
    field("url", Text, Fixed),
    field("region_code", Text, Fixed),
    field("city_name", Text, Fixed),
    field("event_region", Text, Fixed),
    field("event_city", Text, Fixed),
    field("device_brand", Text, Fixed),
    field("device_model", Text, Fixed),
    field("device_os", Text, Fixed),
    field("device_os_version", Text, Fixed),
    field("mobile_carrier", Text, Fixed),
    field("device_id", Text, Fixed),
    field("device_id_md5", Text, Fixed),
    field("device_id_sha1", Text, Fixed),
    field("android_id", Text, Fixed),
    field("android_id_md5", Text, Fixed),
    field("android_id_sha1", Text, Fixed),
    field("google_aid", Text, Fixed),
    field("google_aid_md5", Text, Fixed),
    field("google_aid_sha1", Text, Fixed),
    field("ios_ifa", Text, Fixed),
    field("ios_ifa_md5", Text, Fixed),
    field("ios_ifa_sha1", Text, Fixed),
    field("ios_ifv", Text, Fixed),
    field("ios_ifv_md5", Text, Fixed),
    field("ios_ifv_sha1", Text, Fixed),
    field("windows_aid", Text, Fixed),
    field("windows_aid_md5", Text, Fixed),
    field("windows_aid_sha1", Text, Fixed),
    field("mac_address", Text, Fixed),
    field("mac_address_md5", Text, Fixed),
    field("mac_address_sha1", Text, Fixed),
    field("unknown_id", Text, Fixed),
    field("unknown_id_md5", Text, Fixed),
    field("unknown_id_sha1", Text, Fixed),
    field("user_id", Text, Fixed),
    field("user_id_md5", Text, Fixed),
    field("user_id_sha1", Text, Fixed),
    field("odin", Text, Fixed),
    field("fraud_reason_data", Text, Fixed),
    field("batch_date_utc", Text, Fixed),
    field("internal_ad_id", Text, Fixed),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_may_be_about_a_person_but_for_what_is_open() {
        let personal: Vec<&str> = personal().collect();
        for name in ["transaction_id", "user_id", "ip", "user_agent", "odin"] {
            assert!(is_personal(name), "{name}");
        }
        for name in ["offer_id", "payout", "date", "update_stats"] {
            assert!(!is_personal(name), "{name} is no text");
        }
        for name in OPEN {
            assert!(!is_personal(name) && !personal.contains(&name), "{name}");
        }
        assert!(is_personal("unheard_of"));
        let text = |field: &&Field| matches!(field.kind, Type::Text | Type::Key);
        let open = FIELDS
            .iter()
            .filter(text)
            .filter(|field| OPEN.contains(&field.name));
        let all = FIELDS.iter().filter(text);
        assert_eq!(personal.len(), all.count() - open.count());
        assert!(personal.iter().all(|name| is_personal(name)));
    }
}
