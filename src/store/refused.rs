//! What only the database refuses, on its way to quarantine.

use super::batch::Batch;
use super::fault::{Fault, Why};
use crate::formats::hasoffers::Body;
use crate::formats::{Reason, Refusal, Reject, Scope};

/// A fact that only Postgres refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its position in [`Batch::facts`].
    pub fact: usize,
    pub sqlstate: String,
}

impl Refused {
    pub fn refusal(&self) -> Refusal {
        let detail = format!("the database refused it with SQLSTATE {}", self.sqlstate);
        Refusal::new(Reason::RefusedByDatabase, detail)
    }
}

/// Refused facts of one body as rejects, with the bytes that they have in it. They are in the order of the body, which was
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
            let fact = &batch.facts()[refused.fact];
            let position = fact.origin.event;
            let (_, raw) = events
                .find(|(at, _)| *at == position)
                .ok_or_else(|| not_found(message_id, format!("it has no event {position}")))?;
            Ok(Reject {
                scope: Scope::Event,
                refusal: refused.refusal(),
                payload: raw.as_bytes().to_vec(),
                message_id: message_id.to_owned(),
                network_id: Some(batch.network_id(fact).to_owned()),
                event_id: Some(batch.event_id(fact).to_owned()),
                dispatch_timestamp: body.dispatch_timestamp(),
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
