//! Everything that is SQL. A [`Store`] is one worker's connection and what it knows of the tables.
//!
//! [`batch`] is what a transaction writes, [`plan`] what is worked out before it begins, [`mod@write`] the transaction itself
//! in its fixed phases: originals, their conflicts, adjustments, their conflicts ([`facts`], [`conflicts`]), patches
//! ([`patches`]), quarantine ([`quarantine`], [`refused`]). [`partitions`] keeps the days, [`fault`] says what an error means,
//! [`inspect`] is what `hydrant check` asks, [`showcase`] what the demo shows.

pub mod batch;
mod conflicts;
mod connection;
mod facts;
pub mod fault;
pub mod inspect;
pub mod migrate;
pub mod partitions;
mod patches;
mod plan;
pub mod quarantine;
pub mod refused;
pub mod repartition;
pub mod showcase;
mod write;

pub use connection::{Settings, Store};
pub use write::{MASS, Tally, Written};
