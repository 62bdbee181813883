//! One delivery: from its own slice of JSON to a [`Document`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Settings;
use super::event_type::EventType;
use super::fields::CONVERSION;
use super::tables::{
    CLICK_MOULD, CONVERSION_MOULD, CONVERSIONS, FIREHOSE_CONVERSION_MOULD, IMPRESSION_MOULD, Mould,
    OFFER_MOULD, OTHER, UPDATE_MOULD, other_row,
};
use crate::formats::id::parse_id;
use crate::formats::row::{self, DEPTH_MAX, Row, canonical, is_blank};
use crate::formats::{Reason, Refusal};
use crate::json;
use crate::store::batch::Origin;
use crate::store::documents::{Document, Layer, content_hash};

/// One event, understood.
#[derive(Debug)]
pub struct Event {
    pub document: Document,
    /// Known fields whose value did not fit.
    pub misfits: u32,
    /// Texts that held what Postgres cannot store.
    pub repaired: u32,
}

/// An event that cannot be stored, with what is known of it.
#[derive(Debug, PartialEq)]
pub struct BadEvent {
    pub refusal: Refusal,
    pub network_id: Option<String>,
    pub event_id: Option<String>,
}

/// Understands one event from its raw slice, which is known to be JSON. `kept_network_id` is what quarantine knows of one
/// that was there.
///
/// # Errors
/// What must be right and is not: that it is of the kind that the setting says, identity, amounts, nesting. Any other value
/// that does not fit goes to `extra` instead.
pub fn read(
    raw: &str,
    settings: &Settings,
    kept_network_id: Option<&str>,
    origin: Origin,
) -> Result<Event, Box<BadEvent>> {
    let bad = |refusal| BadEvent {
        refusal,
        network_id: None,
        event_id: None,
    };
    let members = Members::of(raw, settings).map_err(bad)?;
    understand(raw, &members, settings, kept_network_id, origin).map_err(|refusal| {
        let network_id = members.network_id().ok().flatten();
        let ids = [
            "conversion_id",
            "transaction_id",
            "offer_id",
            "affiliate_id",
        ];
        Box::new(BadEvent {
            refusal,
            network_id: network_id.or_else(|| settings.network_id.clone()),
            event_id: ids.iter().find_map(|column| members.id(column).ok()?),
        })
    })
}

/// The members of an event by the names that they have here.
struct Members<'a> {
    /// With the name that each has in the event. Blank ones are left out.
    by_column: BTreeMap<Cow<'a, str>, (Cow<'a, str>, &'a str)>,
    /// Those whose place was taken: two names of one event may mean the same.
    others: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Members<'a> {
    fn of(raw: &'a str, settings: &'a Settings) -> Result<Members<'a>, Refusal> {
        let own = row::members(raw)?;
        let mut members = Members {
            by_column: BTreeMap::new(),
            others: Vec::new(),
        };
        // A name that the settings give comes before the column's own name, and that before Everflow's other one.
        let mut ranked: Vec<_> = own
            .into_iter()
            .filter(|(_, value)| !is_blank(value))
            .map(|(name, value)| (settings.column_of(&name), name, value))
            .collect();
        ranked.sort_by_key(|((rank, _), _, _)| *rank);
        for ((_, column), name, value) in ranked {
            let column = column.map_or_else(|| name.clone(), Cow::Borrowed);
            match members.by_column.entry(column) {
                Entry::Occupied(_) => members.others.push((name, value)),
                Entry::Vacant(place) => drop(place.insert((name, value))),
            }
        }
        Ok(members)
    }

    fn raw(&self, column: &str) -> Option<&'a str> {
        self.by_column.get(column).map(|(_, raw)| *raw)
    }

    fn has(&self, column: &str) -> bool {
        self.by_column.contains_key(column)
    }

    fn id(&self, column: &str) -> Result<Option<String>, Refusal> {
        id(column, self.raw(column), Reason::EventId)
    }

    /// The network that the event names, itself or in what it is about.
    fn network_id(&self) -> Result<Option<String>, Refusal> {
        let own = id("network_id", self.raw("network_id"), Reason::NetworkId)?;
        let nested = || {
            let first = |raw| json::elements(raw).next();
            let blocked = self
                .raw("blocked_variables")
                .filter(|raw| raw.starts_with('['));
            ["offer", "affiliate"]
                .iter()
                .filter_map(|name| self.raw(name))
                .chain(blocked.and_then(first))
                .filter_map(|raw| member(raw, "network_id"))
                .find_map(|raw| id("network_id", Some(raw), Reason::NetworkId).ok()?)
        };
        Ok(own.or_else(nested))
    }
}

/// An id as text; `None` where it is blank.
fn id(name: &str, raw: Option<&str>, reason: Reason) -> Result<Option<String>, Refusal> {
    parse_id(raw.map(json::scalar))
        .map(|id| id.map(Cow::into_owned))
        .map_err(|rule| Refusal::new(reason, format!("{name} {rule}")))
}

/// The last member of this name, if it is an object that has it.
fn member<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    let members = raw.starts_with('{').then(|| json::members(raw))?;
    members
        .filter(|(key, _)| key == name)
        .map(|(_, raw)| raw)
        .last()
}

fn understand(
    raw: &str,
    members: &Members<'_>,
    settings: &Settings,
    kept_network_id: Option<&str>,
    origin: Origin,
) -> Result<Event, Refusal> {
    let event_type = settings
        .event_type
        .of_fields(|column| members.has(column))?;
    let network_id = members
        .network_id()?
        .or_else(|| settings.network_id.clone())
        .or_else(|| kept_network_id.map(str::to_owned));
    let network_id = network_id.ok_or_else(|| {
        let detail = "it names no network, and its source has no network_id";
        Refusal::new(Reason::NetworkMissing, detail)
    })?;
    let delivery = Delivery {
        event_type: event_type.as_str(),
        network_id,
        origin,
    };
    match event_type {
        EventType::Conversion | EventType::Event => delivery.row(members, &CONVERSION_MOULD),
        EventType::FirehoseConversion => delivery.row(members, &FIREHOSE_CONVERSION_MOULD),
        EventType::FirehoseConversionUpdate => delivery.row(members, &UPDATE_MOULD),
        EventType::OfferCreated | EventType::OfferUpdated => delivery.row(members, &OFFER_MOULD),
        EventType::FirehoseClick | EventType::Firehose => delivery.row(members, &CLICK_MOULD),
        EventType::FirehoseImpression => delivery.row(members, &IMPRESSION_MOULD),
        EventType::AdvertiserCreated
        | EventType::AdvertiserUpdated
        | EventType::AdvertiserSignedUp => delivery.other(raw, members.id("advertiser_id")?),
        EventType::PartnerCreated
        | EventType::PartnerUpdated
        | EventType::PartnerSignedUp
        | EventType::PartnerSignUpVerdict
        | EventType::PartnerApprovedForOffer => delivery.other(raw, members.id("affiliate_id")?),
        EventType::TrafficOptimized => delivery.other(raw, None),
    }
}

/// What is known of an event before its row.
struct Delivery {
    event_type: &'static str,
    network_id: String,
    origin: Origin,
}

impl Delivery {
    /// A row of a table with a column for each known field.
    fn row(self, members: &Members<'_>, mould: &Mould) -> Result<Event, Refusal> {
        let table = mould.table;
        let id_column = table.key[1];
        let id = members.id(id_column)?.ok_or_else(|| {
            Refusal::new(Reason::EventId, format!("{id_column} is missing or blank"))
        })?;
        let row = row(members, mould)?;
        let (misfits, repaired) = (row.misfits, row.repaired);
        let happened = row.integer(mould.happened);
        let version = mould.version.and_then(|column| row.integer(column));
        let row = row.finish();
        Ok(Event {
            document: Document {
                table,
                key: vec![self.network_id, id],
                event_type: self.event_type,
                layer: mould.layer,
                version,
                happened,
                content_hash: content_hash(self.event_type, &row),
                row,
                origin: self.origin,
            },
            misfits,
            repaired,
        })
    }

    /// A row of what has no table of its own: the whole event.
    fn other(self, raw: &str, id: Option<String>) -> Result<Event, Refusal> {
        let (body, repaired) = canonical(raw, DEPTH_MAX)?;
        // The one field that says when the delivery was made: a delivery that is repeated has another.
        let hashed: Vec<String> = json::members(&body)
            .filter(|(name, _)| name != "webhook_generation_time")
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        Ok(Event {
            document: Document {
                table: &OTHER,
                key: vec![self.network_id, self.event_type.to_owned()],
                event_type: self.event_type,
                layer: Layer::Base,
                version: None,
                happened: None,
                row: other_row(id.as_deref(), &body),
                content_hash: content_hash(self.event_type, &hashed.join(",")),
                origin: self.origin,
            },
            misfits: 0,
            repaired,
        })
    }
}

/// The columns of a table, from the members that are not its key.
fn row(members: &Members<'_>, mould: &Mould) -> Result<Row, Refusal> {
    let mut row = Row::default();
    let is_conversion = mould.table.name == CONVERSIONS.name;
    let mut nested = None;
    for (column, (name, raw)) in &members.by_column {
        if mould.table.key.contains(&column.as_ref()) {
            continue;
        }
        if is_conversion && column == "relationship" && raw.starts_with('{') {
            nested = Some(raw);
        } else {
            row.put(mould.fields, column, name, raw)?;
        }
    }
    // Last: what the event says itself comes before what is said of its relations.
    if let Some(raw) = nested {
        relationship(&mut row, raw)?;
    }
    for (name, raw) in &members.others {
        row.keep(name, raw)?;
    }
    Ok(row)
}

/// The columns of a conversion's `relationship`.
fn relationship(row: &mut Row, raw: &str) -> Result<(), Refusal> {
    for (name, raw) in row::members(raw)? {
        let own_name = format!("relationship.{name}");
        let is_thing = ["offer", "advertiser", "affiliate"].contains(&name.as_ref());
        if !is_thing || !raw.starts_with('{') {
            row.put(&CONVERSION, &name, &own_name, raw)?;
            continue;
        }
        for (key, raw) in row::members(raw)? {
            let column = match key.as_ref() {
                "name" => format!("{name}_name"),
                key if key == format!("network_{name}_id") => format!("{name}_id"),
                key => key.to_owned(),
            };
            let belongs = column.starts_with(name.as_ref());
            let column = if belongs { column.as_str() } else { "" };
            row.put(&CONVERSION, column, &format!("{own_name}.{key}"), raw)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
