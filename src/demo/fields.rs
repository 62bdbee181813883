//! The fields of a generated event: who saw which offer where, and on what.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

use super::feed::UNITS;
use crate::formats::value::Day;

/// 2026-11-02 00:00 in New York.
pub const FIRST_SECOND: i64 = 1_793_595_600;
/// New York's hours behind UTC on the days of the feed.
const OFFSET_SECONDS: i64 = 5 * 3600;

/// What is advertised. Money in [`UNITS`].
#[derive(Clone, Copy)]
pub struct Offer {
    id: i64,
    advertiser_id: i64,
    goal_id: i64,
    payout_type: &'static str,
    pub click_payout: i64,
    pub payout: i64,
    /// Thousandths of the sale that are paid.
    pub sale_share: i64,
}

const OFFERS: [Offer; 5] = [
    offer(101, 11, 0, "cpa_flat", 0, 1200, 0),
    offer(102, 11, 3, "cpa_percentage", 0, 0, 75),
    offer(103, 12, 0, "cpa_both", 0, 250, 40),
    offer(104, 13, 5, "cpc", 12, 100, 0),
    offer(105, 14, 0, "cpa_flat", 0, 4550, 0),
];

const fn offer(
    id: i64,
    advertiser_id: i64,
    goal_id: i64,
    payout_type: &'static str,
    click_cents: i64,
    cents: i64,
    sale_share: i64,
) -> Offer {
    Offer {
        id,
        advertiser_id,
        goal_id,
        payout_type,
        click_payout: click_cents * (UNITS / 100),
        payout: cents * (UNITS / 100),
        sale_share,
    }
}

const NETWORKS: [(&str, &str); 2] = [("demo", "USD"), ("nordlys", "EUR")];

const PLACES: [(&str, &str, &str); 5] = [
    ("US", "NY", "New York"),
    ("US", "CA", "Fresno"),
    ("DE", "BE", "Berlin"),
    ("BR", "SP", "São Paulo"),
    ("JP", "13", "東京"),
];

/// Brand, model, system, its version, user agent.
const DEVICES: [[&str; 5]; 4] = [
    [
        "Apple",
        "iPhone",
        "iOS",
        "18.1",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Safari/604.1",
    ],
    [
        "Google",
        "Pixel 9",
        "Android",
        "15",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/141.0 Mobile",
    ],
    [
        "Samsung",
        "Galaxy S25",
        "Android",
        "15",
        "Mozilla/5.0 (Linux; Android 15; SM-S931B) Chrome/141.0 Mobile",
    ],
    [
        "",
        "",
        "Windows",
        "11",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/144.0",
    ],
];

/// One visitor on one offer at one moment.
pub struct Session {
    pub network_id: &'static str,
    pub offer: Offer,
    currency: &'static str,
    /// Seconds since 1970.
    at: i64,
}

impl Session {
    pub fn random(rng: &mut Xoshiro256PlusPlus, at: i64) -> Session {
        let (network_id, currency) = NETWORKS[usize::from(rng.random_ratio(1, 4))];
        let offer = OFFERS[rng.random_range(0..OFFERS.len())];
        Session {
            network_id,
            offer,
            currency,
            at,
        }
    }

    /// What every event has but for its ids and money: the fields of a click, in TUNE's mixed types.
    pub fn fields(&self, rng: &mut Xoshiro256PlusPlus, action: &str) -> Map<String, Value> {
        let (date, hour, datetime) = local_time(self.at);
        let (country, region, city) = PLACES[rng.random_range(0..PLACES.len())];
        let [brand, model, os, os_version, user_agent] = DEVICES[rng.random_range(0..4)];
        let ip = format!(
            "203.0.113.{}",
            [0, 17, 42, 99].choose(rng).copied().unwrap_or(0)
        );
        let affiliate_id: i64 = rng.random_range(1001..1020);
        let transaction_id = format!("102{:020x}", rng.random::<u64>());
        let click_id = format!("{:016x}", rng.random::<u64>());
        let device_id = format!("{:032x}", rng.random::<u128>());
        map([
            ("action", json!(action)),
            ("network_id", json!(self.network_id)),
            ("offer_id", json!(self.offer.id)),
            ("advertiser_id", json!(self.offer.advertiser_id)),
            ("affiliate_id", json!(affiliate_id)),
            ("affiliate_manager_id", json!(1)),
            ("advertiser_manager_id", json!("0")),
            ("goal_id", json!(self.offer.goal_id)),
            ("creative_url_id", json!(0)),
            ("offer_file_id", json!(rng.random_range(0..40))),
            ("offer_url_id", json!(rng.random_range(1..9))),
            ("ad_campaign_id", json!(0)),
            ("ad_campaign_creative_id", json!(0)),
            ("browser_id", json!(rng.random_range(1..12))),
            ("created_timestamp", json!(self.at)),
            ("date", json!(date)),
            ("hour", json!(hour)),
            ("datetime", json!(datetime)),
            ("session_datetime", json!(datetime)),
            ("timezone", json!("America/New_York")),
            ("num", json!(1)),
            ("currency", json!(self.currency)),
            ("payout_type", json!(self.offer.payout_type)),
            ("revenue_type", json!(self.offer.payout_type)),
            ("transaction_id", json!(transaction_id)),
            ("country_code", json!(country)),
            ("region_code", json!(region)),
            ("city_name", json!(city)),
            ("ip", json!(ip)),
            ("session_ip", json!(ip)),
            ("user_agent", json!(user_agent)),
            ("device_brand", json!(brand)),
            ("device_model", json!(model)),
            ("device_os", json!(os)),
            ("device_os_version", json!(os_version)),
            ("mobile_carrier", json!("")),
            ("device_id", json!(device_id)),
            ("refer", json!("https://news.example/article?page=2")),
            ("url", json!("https://shop.example/landing")),
            ("source", json!("newsletter")),
            ("affiliate_click_id", json!(click_id)),
            ("aff_sub", json!(format!("site-{}", affiliate_id % 7))),
            ("aff_sub2", json!("banner")),
            ("aff_sub3", json!("")),
            ("aff_sub4", json!("")),
            ("aff_sub5", json!("")),
            ("affiliate_source", json!("feed")),
            ("fraud_reason_data", json!("")),
            // No column has this name: it lands in `extra`.
            ("placement", json!({"slot": rng.random_range(1..6)})),
        ])
        .collect()
    }

    /// What only conversions have.
    pub fn add_conversion_fields(
        &self,
        rng: &mut Xoshiro256PlusPlus,
        event: &mut Map<String, Value>,
        status: &str,
    ) {
        let status_code = if status == "rejected" { 12 } else { 43 };
        event.extend(map([
            ("status", json!(status)),
            ("status_code", json!(status_code)),
            ("conversion_id", json!(rng.random_range(1..1_000_000_000))),
            (
                "adv_sub",
                json!(format!("order-{:08x}", rng.random::<u32>())),
            ),
            (
                "order_id",
                json!(rng.random_range(10_000..99_999).to_string()),
            ),
            ("sku_id", json!("SKU-7")),
            ("promo_code", json!("")),
            ("product_category", json!("shoes")),
            ("pixel_refer", json!("https://shop.example/thanks")),
        ]));
    }
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> impl Iterator<Item = (String, Value)> {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
}

/// Date, hour and datetime in the network's own time zone.
fn local_time(at: i64) -> (String, i64, String) {
    let local = at - OFFSET_SECONDS;
    let date = Day::of_unix_seconds(local)
        .unwrap_or(Day::EPOCH)
        .to_string();
    let seconds = local.rem_euclid(86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let datetime = format!("{date} {hour:02}:{minute:02}:{second:02}");
    (date, hour, datetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_begins_at_midnight_in_new_york() {
        assert_eq!(
            local_time(FIRST_SECOND),
            ("2026-11-02".into(), 0, "2026-11-02 00:00:00".into())
        );
        assert_eq!(local_time(FIRST_SECOND + 90_061).2, "2026-11-03 01:01:01");
    }
}
