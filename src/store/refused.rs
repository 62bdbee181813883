//! What only the database refuses, on its way to quarantine.

use super::batch::{Batch, Item};
use super::fault::{Fault, Why};
use crate::formats::{Body, Reason, Refusal, Reject, Scope};

/// What only Postgres refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub item: Item,
    pub sqlstate: String,
}

impl Refused {
    pub fn refusal(&self) -> Refusal {
        let detail = format!("the database refused it with SQLSTATE {}", self.sqlstate);
        Refusal::new(Reason::RefusedByDatabase, detail)
    }
}

/// Refused things of one body as rejects, with the bytes that they have in it. They are in the order of the body, which was
/// opened again and not read from.
///
/// # Errors
/// An event is not where it was: that is our mistake, and none is left out for it.
pub fn rejects(
    refused: &[Refused],
    batch: &Batch,
    body: &Body,
    message_id: &str,
) -> Result<Vec<Reject>, Fault> {
    let mut events = body.raw_events();
    refused
        .iter()
        .map(|refused| {
            let position = batch.origin(refused.item).event;
            let (_, raw) = events
                .find(|(at, _)| *at == position)
                .ok_or_else(|| not_found(message_id, format!("it has no event {position}")))?;
            let (network_id, event_id) = match refused.item {
                Item::Fact(at) => {
                    let fact = &batch.facts()[at];
                    let network_id = batch.network_id(fact).to_owned();
                    (Some(network_id), batch.event_id(fact).to_owned())
                }
                Item::Document(at) => {
                    let document = &batch.documents()[at];
                    (document.network_id().map(str::to_owned), document.id())
                }
            };
            let spot = body.spot(position, &event_id);
            Ok(Reject {
                source: None,
                scope: Scope::Event,
                refusal: refused.refusal(),
                payload: raw.as_bytes().to_vec(),
                message_id: message_id.to_owned(),
                network_id,
                event_id: Some(event_id),
                dispatch_timestamp: body.dispatch_timestamp(),
                spot,
            })
        })
        .collect()
}

/// A body that was read before does not hold what it held.
pub fn not_found(message_id: &str, why: impl std::fmt::Display) -> Fault {
    Fault::down(
        Why::Unavailable,
        format_args!("could not find refused events again in message {message_id}: {why}"),
    )
}
