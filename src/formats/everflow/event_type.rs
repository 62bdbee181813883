//! What kind of delivery something is: the source's setting says so, and its own fields must not contradict.

use std::fmt;

use crate::formats::{Reason, Refusal};

/// The setting `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum EventType {
    Conversion,
    Event,
    OfferCreated,
    OfferUpdated,
    AdvertiserCreated,
    AdvertiserUpdated,
    AdvertiserSignedUp,
    PartnerCreated,
    PartnerUpdated,
    PartnerSignedUp,
    PartnerSignUpVerdict,
    PartnerApprovedForOffer,
    TrafficOptimized,
    /// Any kind but impressions on one queue: clicks, conversions and their updates are told apart by their fields.
    Firehose,
    FirehoseClick,
    FirehoseImpression,
    FirehoseConversion,
    FirehoseConversionUpdate,
}

/// Its words in the configuration.
pub const EVENT_TYPES: [(&str, EventType); 18] = [
    ("conversion", EventType::Conversion),
    ("event", EventType::Event),
    ("offer_created", EventType::OfferCreated),
    ("offer_updated", EventType::OfferUpdated),
    ("advertiser_created", EventType::AdvertiserCreated),
    ("advertiser_updated", EventType::AdvertiserUpdated),
    ("advertiser_signed_up", EventType::AdvertiserSignedUp),
    ("partner_created", EventType::PartnerCreated),
    ("partner_updated", EventType::PartnerUpdated),
    ("partner_signed_up", EventType::PartnerSignedUp),
    ("partner_sign_up_verdict", EventType::PartnerSignUpVerdict),
    (
        "partner_approved_for_offer",
        EventType::PartnerApprovedForOffer,
    ),
    ("traffic_optimized", EventType::TrafficOptimized),
    ("firehose", EventType::Firehose),
    ("firehose_click", EventType::FirehoseClick),
    ("firehose_impression", EventType::FirehoseImpression),
    ("firehose_conversion", EventType::FirehoseConversion),
    (
        "firehose_conversion_update",
        EventType::FirehoseConversionUpdate,
    ),
];

impl EventType {
    pub fn as_str(self) -> &'static str {
        let word = EVENT_TYPES.iter().find(|(_, one)| *one == self);
        word.map_or("", |(word, _)| word)
    }

    /// The kind that a delivery with these fields is: this one, or what they tell of the Firehose's.
    ///
    /// # Errors
    /// They are another's.
    pub fn of_fields(self, has: impl Fn(&str) -> bool) -> Result<EventType, Refusal> {
        let shape = Shape::of(has);
        match (self, shape) {
            (EventType::Firehose, Some(Shape::ConversionUpdate)) => {
                Ok(EventType::FirehoseConversionUpdate)
            }
            (EventType::Firehose, Some(Shape::Conversion)) => Ok(EventType::FirehoseConversion),
            (EventType::Firehose, Some(Shape::Click)) => Ok(EventType::FirehoseClick),
            (EventType::Firehose, None) => Err(Refusal::new(
                Reason::EventType,
                "its fields do not tell what it is: none of update_timestamp, conversion_id, unix_timestamp",
            )),
            (_, None) => Ok(self),
            (_, Some(shape)) if self.may_look_like(shape) => Ok(self),
            (_, Some(shape)) => Err(Refusal::new(
                Reason::EventType,
                format!(
                    "it looks like {shape}, where event_type is {}",
                    self.as_str()
                ),
            )),
        }
    }

    fn may_look_like(self, shape: Shape) -> bool {
        match self {
            // Events and base conversions tell themselves apart, by is_event.
            EventType::Conversion | EventType::Event | EventType::FirehoseConversion => {
                shape == Shape::Conversion
            }
            // An update without a time is one all the same.
            EventType::FirehoseConversionUpdate => {
                matches!(shape, Shape::ConversionUpdate | Shape::Conversion)
            }
            EventType::OfferCreated | EventType::OfferUpdated => shape == Shape::Offer,
            EventType::AdvertiserCreated
            | EventType::AdvertiserUpdated
            | EventType::AdvertiserSignedUp => shape == Shape::Advertiser,
            EventType::PartnerCreated | EventType::PartnerUpdated | EventType::PartnerSignedUp => {
                shape == Shape::Partner
            }
            EventType::PartnerSignUpVerdict => shape == Shape::SignUpVerdict,
            EventType::PartnerApprovedForOffer => shape == Shape::ApprovedForOffer,
            EventType::TrafficOptimized => shape == Shape::TrafficOptimized,
            EventType::FirehoseClick | EventType::FirehoseImpression => shape == Shape::Click,
            EventType::Firehose => false,
        }
    }
}

/// What its tell-tale fields make a delivery look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Conversion,
    ConversionUpdate,
    Click,
    Offer,
    Advertiser,
    Partner,
    SignUpVerdict,
    ApprovedForOffer,
    TrafficOptimized,
}

impl Shape {
    /// `has`: whether a column has a value.
    fn of(has: impl Fn(&str) -> bool) -> Option<Shape> {
        let shapes = [
            (has("webhook_generation_time"), Shape::ApprovedForOffer),
            (has("blocked_variables"), Shape::TrafficOptimized),
            (
                has("new_status") && has("employee_id"),
                Shape::SignUpVerdict,
            ),
            (has("update_timestamp"), Shape::ConversionUpdate),
            (has("conversion_id"), Shape::Conversion),
            (has("offer_status") && has("offer_id"), Shape::Offer),
            (has("account_status") && has("affiliate_id"), Shape::Partner),
            (
                has("account_status") && has("advertiser_id"),
                Shape::Advertiser,
            ),
            (has("unix_timestamp"), Shape::Click),
        ];
        shapes
            .iter()
            .find(|(is_it, _)| *is_it)
            .map(|(_, shape)| *shape)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Conversion => "a conversion",
            Shape::ConversionUpdate => "a conversion update",
            Shape::Click => "a click or impression",
            Shape::Offer => "an offer",
            Shape::Advertiser => "an advertiser",
            Shape::Partner => "a partner",
            Shape::SignUpVerdict => "a partner's sign-up verdict",
            Shape::ApprovedForOffer => "a partner's approval for an offer",
            Shape::TrafficOptimized => "a traffic optimisation",
        })
    }
}
