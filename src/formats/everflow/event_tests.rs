use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ORIGIN: Origin = Origin {
    delivery: 0,
    event: 0,
};

fn settings(event_type: EventType) -> Settings {
    Settings {
        event_type,
        network_id: Some("1".into()),
        fields: BTreeMap::new(),
    }
}

fn understood(raw: &Value, event_type: EventType) -> Event {
    let event = read(&raw.to_string(), &settings(event_type), None, ORIGIN);
    event.unwrap_or_else(|bad| panic!("{bad:?} of {raw}"))
}

fn row(raw: &Value, event_type: EventType) -> Value {
    serde_json::from_str(&understood(raw, event_type).document.row).unwrap()
}

fn reason(raw: &Value, settings: &Settings) -> Reason {
    let bad = read(&raw.to_string(), settings, None, ORIGIN).unwrap_err();
    bad.refusal.reason
}

#[test]
fn values_take_the_form_of_their_columns() {
    let raw = json!({"conversion_id": 987654, "payout": "25.00", "revenue": 1e2, "is_event": "false", "status": "unknown",
        "error_code": "0", "sub3": "", "adv1": null, "dma": 803, "sale_amount": 149.99, "colour": "red", "is_view_through": 7,
        "relationship": {"offer": {"network_offer_id": 12345, "name": "Offer", "offer_status": "active", "hue": 1},
            "affiliate": {"network_affiliate_id": "456"}, "advertiser": null, "query_parameters": {}, "deal": [1]}});
    let event = understood(&raw, EventType::Conversion);
    assert_eq!(event.document.key, ["1", "987654"]);
    assert_eq!(event.misfits, 1);
    assert_eq!(
        row(&raw, EventType::Conversion),
        json!({"payout": 25, "revenue": 100, "is_event": false, "status": "unknown", "error_code": 0, "dma": "803",
            "sale_amount": 149.99, "offer_id": "12345", "offer_name": "Offer", "offer_status": "active",
            "affiliate_id": "456", "query_parameters": {},
            "extra": {"colour": "red", "is_view_through": 7, "relationship.offer.hue": 1, "relationship.deal": [1]}})
    );
    // However it is written.
    let same = json!({"payout": 25, "revenue": "100", "is_event": false, "status": "unknown", "error_code": 0, "dma": "803",
        "conversion_id": "987654", "sale_amount": "149.990", "colour": "red", "is_view_through": 7, "network_id": 1,
        "relationship": raw["relationship"]});
    let same = understood(&same, EventType::Conversion).document;
    assert_eq!(same.content_hash, event.document.content_hash);
}

#[test]
fn what_a_relation_says_otherwise_is_kept_beside_the_events_own_value() {
    let raw = json!({"conversion_id": 1, "offer_id": 5, "offer_name": "Own", "status": "approved",
        "relationship": {"offer": {"network_offer_id": "5", "name": "Other", "offer_status": "active"},
            "status": "pending"}});
    assert_eq!(
        row(&raw, EventType::Conversion),
        json!({"offer_id": "5", "offer_name": "Own", "offer_status": "active", "status": "approved",
            "extra": {"relationship.offer.name": "Other", "relationship.status": "pending"}})
    );
}

#[test]
fn the_firehose_is_told_apart_by_its_fields() {
    let base = json!({"network_id": "9", "transaction_id": "t", "network_offer_id": 5});
    for (more, table, layer, row) in [
        (
            json!({"unix_timestamp": "1709500000"}),
            "everflow_clicks",
            Layer::Base,
            json!({"offer_id": "5", "unix_timestamp": 1709500000}),
        ),
        (
            json!({"conversion_id": "c", "conversion_status": "approved", "event_name": "e", "conversion_timestamp": 3}),
            "everflow_conversions",
            Layer::Upper,
            json!({"offer_id": "5", "transaction_id": "t", "status": "approved", "event": "e",
                "conversion_unix_timestamp": 3}),
        ),
        (
            json!({"conversion_id": "c", "update_timestamp": "7", "revenue": "-0.1"}),
            "everflow_conversions",
            Layer::Update,
            json!({"offer_id": "5", "transaction_id": "t", "update_timestamp": 7, "revenue": -0.1}),
        ),
    ] {
        let mut raw = base.clone();
        let members = raw.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        let document = understood(&raw, EventType::Firehose).document;
        assert_eq!((document.table.name, document.layer), (table, layer));
        assert_eq!(document.key[0], "9");
        assert_eq!(serde_json::from_str::<Value>(&document.row).unwrap(), row);
    }
    assert_eq!(
        reason(&base, &settings(EventType::Firehose)),
        Reason::EventType
    );
}

#[test]
fn a_networks_own_names_mean_what_the_settings_say() {
    let fields = [
        ("revenue_usd", "revenue"),
        ("when", "conversion_timestamp"),
        ("id", "conversion_id"),
    ];
    let fields = fields.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()));
    let settings = Settings {
        fields: fields.into(),
        ..settings(EventType::Firehose)
    };
    let raw = json!({"id": "c", "revenue_usd": 2, "revenue": 3, "when": 4, "status": "", "conversion_status": "pending"});
    let event = read(&raw.to_string(), &settings, None, ORIGIN).unwrap();
    assert_eq!(event.document.key, ["1", "c"]);
    let row: Value = serde_json::from_str(&event.document.row).unwrap();
    assert_eq!(
        row,
        json!({"revenue": 2, "conversion_unix_timestamp": 4, "status": "pending", "extra": {"revenue": 3}})
    );
}

#[test]
fn what_looks_like_another_kind_is_refused() {
    let offer =
        json!({"network_offer_id": 1, "offer_status": "active", "network_advertiser_id": 2});
    let advertiser = json!({"network_advertiser_id": 1, "account_status": "active"});
    let partner = json!({"network_affiliate_id": 1, "account_status": "active"});
    let verdict = json!({"network_affiliate_id": 1, "new_status": "active", "employee_id": 3});
    let approved = json!({"offer_id": 1, "affiliate_id": 2, "webhook_generation_time": 3});
    let traffic = json!({"blocked_variables": [{"network_id": 8}]});
    let click = json!({"transaction_id": "t", "unix_timestamp": 1});
    let conversion = json!({"conversion_id": 1});
    let update = json!({"conversion_id": 1, "update_timestamp": 1});
    use EventType::*;
    let shapes = [
        (offer, vec![OfferCreated, OfferUpdated]),
        (
            advertiser,
            vec![AdvertiserCreated, AdvertiserUpdated, AdvertiserSignedUp],
        ),
        (
            partner,
            vec![PartnerCreated, PartnerUpdated, PartnerSignedUp],
        ),
        (verdict, vec![PartnerSignUpVerdict]),
        (approved, vec![PartnerApprovedForOffer]),
        (traffic, vec![TrafficOptimized]),
        (click, vec![Firehose, FirehoseClick, FirehoseImpression]),
        (
            conversion,
            vec![
                Conversion,
                super::EventType::Event,
                Firehose,
                FirehoseConversion,
                FirehoseConversionUpdate,
            ],
        ),
        (update, vec![Firehose, FirehoseConversionUpdate]),
    ];
    for (raw, fitting) in &shapes {
        for (word, event_type) in super::super::event_type::EVENT_TYPES {
            let outcome = read(&raw.to_string(), &settings(event_type), None, ORIGIN);
            match outcome {
                Ok(_) => assert!(fitting.contains(&event_type), "{raw} as {word}"),
                Err(bad) => {
                    assert_eq!(bad.refusal.reason, Reason::EventType);
                    assert!(!fitting.contains(&event_type), "{raw} as {word}");
                }
            }
        }
    }
}

#[test]
fn what_must_be_right_is_refused() {
    let conversion = settings(EventType::Conversion);
    let nowhere = Settings {
        network_id: None,
        ..conversion.clone()
    };
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    for (raw, settings, expected) in [
        (json!(5), &conversion, Reason::NotAnObject),
        (json!({"conversion_id": ""}), &conversion, Reason::EventId),
        (json!({"conversion_id": {}}), &conversion, Reason::EventId),
        (json!({"conversion_id": 1.5}), &conversion, Reason::EventId),
        (
            json!({"conversion_id": 1}),
            &nowhere,
            Reason::NetworkMissing,
        ),
        (
            json!({"conversion_id": 1, "network_id": []}),
            &conversion,
            Reason::NetworkId,
        ),
        (
            json!({"conversion_id": 1, "payout": "1,50"}),
            &conversion,
            Reason::Amount,
        ),
        (
            json!({"conversion_id": 1, "revenue": 1e15}),
            &conversion,
            Reason::Amount,
        ),
        (
            json!({"conversion_id": 1, "x": deep}),
            &conversion,
            Reason::Depth,
        ),
    ] {
        assert_eq!(reason(&raw, settings), expected, "{raw}");
    }
    let bad = read(
        r#"{"conversion_id":"c","payout":"x"}"#,
        &conversion,
        None,
        ORIGIN,
    )
    .unwrap_err();
    assert_eq!(bad.network_id.as_deref(), Some("1"));
    assert_eq!(bad.event_id.as_deref(), Some("c"));
}

#[test]
fn a_webhook_without_a_table_is_kept_whole_and_a_repeated_one_is_the_same() {
    let nowhere = Settings {
        network_id: None,
        ..settings(EventType::PartnerApprovedForOffer)
    };
    let approved = |time: i64| {
        let raw = json!({"offer_id": 1, "affiliate_id": 2, "event_time": 3, "webhook_generation_time": time,
            "offer": {"network_id": 7, "payout": 1.10}});
        read(&raw.to_string(), &nowhere, None, ORIGIN)
            .unwrap()
            .document
    };
    let (one, other) = (approved(10), approved(11));
    assert_eq!(one.content_hash, other.content_hash);
    assert_eq!(one.key, ["7", "partner_approved_for_offer"]);
    assert_eq!(
        one.row,
        r#"{"body":{"affiliate_id":2,"event_time":3,"offer":{"network_id":7,"payout":1.1},"offer_id":1,"webhook_generation_time":10},"id":"2"}"#
    );
    let traffic = json!({"blocked_variables": [{"network_id": 8}]});
    let traffic = read(
        &traffic.to_string(),
        &Settings {
            event_type: EventType::TrafficOptimized,
            ..nowhere
        },
        None,
        ORIGIN,
    );
    assert_eq!(traffic.unwrap().document.key[0], "8");
}

proptest! {
    #[test]
    fn any_object_is_understood_or_refused(
        names in proptest::collection::vec("conversion_id|payout|status|relationship|[a-z\\\\\"\u{0}]{0,3}", 0..6),
        values in proptest::collection::vec(prop_oneof![
            any::<i64>().prop_map(|n| json!(n)), any::<String>().prop_map(|s| json!(s)), Just(json!({"offer": {"name": []}})),
            Just(json!(null)), any::<f64>().prop_map(|n| json!(n)),
        ], 6),
    ) {
        let raw: serde_json::Map<String, Value> = names.into_iter().zip(values).collect();
        let raw = Value::Object(raw).to_string();
        if let Ok(event) = read(&raw, &settings(EventType::Conversion), None, ORIGIN) {
            let row: Value = serde_json::from_str(&event.document.row).unwrap();
            let columns = row.as_object().unwrap().keys();
            for column in columns {
                prop_assert!(event.document.table.columns.contains(&column.as_str()), "{column}");
            }
        }
    }
}
