//! Sources hand over deliveries and take them back: acknowledged, or released undone.

pub mod aws;
pub mod file;
pub mod heartbeat;
pub mod http;
pub mod kinesis;
pub mod kinesis_error;
pub mod object;
pub mod pieces;
pub mod s3;
pub mod s3_error;
pub mod sqs;
pub mod sqs_error;
pub mod sqs_inspect;

use crate::formats::place::Place;

/// One message as a source gave it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The source's own id of the message, for logs and quarantine; never an identity of its events.
    pub id: String,
    pub body: Vec<u8>,
    /// Which of its source's formats it has, by position.
    pub format: usize,
    /// Where it stands, if it is a piece of a file or an object.
    pub place: Option<Place>,
    /// How often it was received so far, this time included; 1 where the source does not tell.
    pub attempt: u32,
}
