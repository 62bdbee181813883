//! Where Everflow's deliveries are stored.

use super::fields::{CLICK, CONVERSION, OFFER};
use crate::formats::row::Field;
use crate::json;
use crate::store::documents::{Document, Keeping, Layer, Table, content_hash};

pub static CONVERSIONS: Table = Table {
    name: "everflow_conversions",
    key: &["network_id", "conversion_id"],
    columns: &columns::<{ CONVERSION.len() + 1 }>(&CONVERSION),
    keeping: Keeping::Latest {
        versions: "everflow_conversion_versions",
    },
};

pub static OFFERS: Table = Table {
    name: "everflow_offers",
    key: &["network_id", "offer_id"],
    columns: &columns::<{ OFFER.len() + 1 }>(&OFFER),
    keeping: Keeping::Latest {
        versions: "everflow_offer_versions",
    },
};

pub static CLICKS: Table = Table {
    name: "everflow_clicks",
    key: &["network_id", "transaction_id"],
    columns: &columns::<{ CLICK.len() + 1 }>(&CLICK),
    keeping: Keeping::First {
        variant: |click| variant(click, "click_variant"),
    },
};

pub static IMPRESSIONS: Table = Table {
    name: "everflow_impressions",
    key: &["network_id", "transaction_id"],
    columns: &columns::<{ CLICK.len() + 1 }>(&CLICK),
    keeping: Keeping::First {
        variant: |impression| variant(impression, "impression_variant"),
    },
};

/// What a row of a table is made of.
#[derive(Debug)]
pub struct Mould {
    pub table: &'static Table,
    pub fields: &'static [Field],
    pub layer: Layer,
    /// The column that orders the contents of a key, if the feed has one.
    pub version: Option<&'static str>,
    /// The column that says when it happened.
    pub happened: &'static str,
}

/// A conversion of a webhook. It carries no time of its writing: the later arrival is the later state.
pub const CONVERSION_MOULD: Mould = Mould {
    table: &CONVERSIONS,
    fields: &CONVERSION,
    layer: Layer::Base,
    version: None,
    happened: "conversion_unix_timestamp",
};

pub const FIREHOSE_CONVERSION_MOULD: Mould = Mould {
    layer: Layer::Upper,
    ..CONVERSION_MOULD
};

pub const UPDATE_MOULD: Mould = Mould {
    layer: Layer::Update,
    version: Some("update_timestamp"),
    happened: "update_timestamp",
    ..CONVERSION_MOULD
};

pub const OFFER_MOULD: Mould = Mould {
    table: &OFFERS,
    fields: &OFFER,
    layer: Layer::Base,
    version: Some("time_saved"),
    happened: "time_saved",
};

pub const CLICK_MOULD: Mould = Mould {
    table: &CLICKS,
    fields: &CLICK,
    layer: Layer::Base,
    version: None,
    happened: "unix_timestamp",
};

pub const IMPRESSION_MOULD: Mould = Mould {
    table: &IMPRESSIONS,
    ..CLICK_MOULD
};

/// What has no table of its own.
pub static OTHER: Table = Table {
    name: "everflow_other",
    key: &["network_id", "event_type"],
    columns: &["id", "body"],
    keeping: Keeping::Each,
};

/// The names of the columns, and `extra`.
const fn columns<const N: usize>(fields: &[Field]) -> [&'static str; N] {
    let mut names = ["extra"; N];
    let mut at = 0;
    while at < fields.len() {
        names[at] = fields[at].column;
        at += 1;
    }
    names
}

/// A row of [`OTHER`].
pub fn other_row(id: Option<&str>, body: &str) -> String {
    let mut row = format!("{{\"body\":{body}");
    if let Some(id) = id {
        row.push_str(",\"id\":");
        json::write_text(id, &mut row);
    }
    row.push('}');
    row
}

/// Another content of a click or impression that is there.
fn variant(document: &Document, event_type: &'static str) -> Document {
    let (network_id, id) = (&document.key[0], &document.key[1]);
    Document {
        table: &OTHER,
        key: vec![network_id.clone(), event_type.to_owned()],
        event_type,
        layer: Layer::Base,
        version: None,
        row: other_row(Some(id), &document.row),
        // Two clicks may have equal columns.
        content_hash: content_hash(id, &document.row),
        ..document.clone()
    }
}
