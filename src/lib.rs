//! Hydrant lands affiliate-marketing event feeds in Postgres, exactly once in effect.
//!
//! # The path of one message
//!
//! ```text
//! source ── deliveries ──► decode (pure: bytes → events + rejects) ──► one transaction ──► acknowledge
//!   sources, pipeline            formats                                    store             sources
//! ```
//!
//! 1. Each kind of source has its client in [`sources`] and its loop in [`pipeline`]: a queue ([`pipeline::queue`]), a stream
//!    ([`pipeline::stream`]), what others push ([`pipeline::requests`]), files and objects ([`pipeline::objects`]).
//!    [`pipeline::start`] is the one place that knows which kinds there are. A stop may cut the wait for deliveries, never
//!    their handling or acknowledgement.
//! 2. Each loop gives its deliveries to a [`pipeline::Worker`], which opens them by their [`formats::Format`], the one place
//!    that knows which feeds there are. Decoding is pure: no I/O, no clock. What cannot be understood becomes a
//!    [`formats::Reject`].
//! 3. Events become rows of a [`store::batch::Batch`], and [`store`] writes a batch in one transaction: of HasOffers originals,
//!    adjustments and the fold of each adjusted record ([`formats::hasoffers::fold`]), of the other feeds documents
//!    ([`store::documents`]), and quarantine. Beside it [`store::rollup`] keeps the sums that make view `stats` quick, and
//!    [`store::retention`] drops and blanks what is old.
//! 4. Only after the certain COMMIT of the last transaction that holds one of its events is a message deleted or a request
//!    answered. Where nothing is deleted, how far a source was read is committed along with it ([`store::positions`]).
//! 5. A crash anywhere brings the deliveries back, and they change nothing.
//!
//! Around it: [`config`] loads and checks the settings, [`cli`] and [`commands`] are the command line, [`admin`] serves
//! health and metrics, [`telemetry`] has logs, traces and every metric, [`gate`] stops receiving while the store is away,
//! [`breaker`] while most input is bad, [`backoff`] spaces attempts, [`mod@health`] has the clocks that tell whether a
//! source is well, [`motion`] knows whether the workers move, [`supervisor`] tells systemd, [`lookout`] keeps what is not
//! to be asked for too often. [`json`] finds its way in text without copying it, [`amount`] is money as its text says it,
//! [`clock`] the one place that asks for the time of day. [`reconcile`] compares with TUNE's own reports. [`stand_in`] is
//! a local SQS to try things with, [`demo`] shows all of it.

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
pub mod health;
pub mod json;
pub mod lookout;
pub mod motion;
pub mod pipeline;
pub mod reconcile;
pub mod sources;
pub mod stand_in;
pub mod store;
pub mod supervisor;
pub mod telemetry;
