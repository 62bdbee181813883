//! Sources hand over deliveries and take them back: acknowledged, or released undone.

pub mod heartbeat;
pub mod sqs;
pub mod sqs_error;
pub mod sqs_inspect;

/// One message as a source gave it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The source's own id of the message, for logs and quarantine; never an identity of its events.
    pub id: String,
    pub body: String,
}
