//! Hydrant lands affiliate-marketing event feeds in Postgres, exactly once in effect.
//!
//! # The path of one message
//!
//! ```text
//! SQS ── receive (≤10, long poll) ──► decode (pure: bytes → events + rejects) ──► one transaction ──► delete
//!           sources::sqs               formats::hasoffers                          store             sources::sqs
//! ```
//!
//! 1. A worker ([`pipeline`]) is one plain loop: receive, handle, acknowledge. [`daemon`] runs `workers` of them for each
//!    source. A stop may cancel a receive, never the handling or the acknowledgement.
//! 2. [`formats::hasoffers`] takes off base64 and gzip, finds the events in the envelope and understands each from its own
//!    slice of JSON. It is pure: no I/O, no clock. What cannot be understood becomes a [`formats::Reject`].
//! 3. Events become rows of a [`store::batch::Batch`], and [`store`] writes a batch in one transaction: originals,
//!    adjustments, the fold of each adjusted record ([`formats::hasoffers::fold`]), quarantine.
//! 4. Only after the certain COMMIT of the last transaction that holds one of its events is a message deleted.
//! 5. A crash anywhere brings the messages back, and they change nothing.
//!
//! Around it: [`config`] loads and checks the settings, [`cli`] and [`commands`] are the command line, [`admin`] serves
//! health and metrics, [`telemetry`] names every metric, [`gate`] stops receiving while the store is away, [`breaker`] while
//! most input is bad, [`backoff`] spaces attempts. [`json`] finds its way in text without copying it, [`amount`] is money as
//! its text says it, [`clock`] the one place that asks for the time of day. [`stand_in`] is a local SQS to try things with,
//! [`demo`] shows all of it.

pub mod admin;
pub mod amount;
pub mod backoff;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod formats;
pub mod gate;
pub mod json;
pub mod pipeline;
pub mod sources;
pub mod stand_in;
pub mod store;
pub mod telemetry;
