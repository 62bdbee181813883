//! Everything that is SQL. A [`Store`] is one worker's connection and what it knows of the tables.
//!
//! [`batch`] is what a transaction writes, [`plan`] what is worked out before it begins, [`mod@write`] the transaction itself
//! in its fixed phases: originals, their conflicts, adjustments, their conflicts ([`adding`], [`facts`], [`conflicts`]),
//! patches ([`patches`]), the rows of other feeds ([`documents`]), quarantine ([`quarantine`], [`refused`]), and how far a source
//! was read ([`positions`]), which [`leases`] shares out. [`claims`] keeps the workers of one process from racing,
//! [`partitions`] keeps the days, [`fault`] says what an error means. [`inspect`] is what `hydrant check` asks, [`overview`]
//! what the status page does, [`verify`] what `hydrant verify` proves, [`explain`] what `hydrant explain` reads,
//! [`reconcile`] what `hydrant reconcile` compares, [`showcase`] what the demo shows; [`rebuild`] mends by folding again,
//! [`retention`] deletes what is old.

mod adding;
pub mod batch;
mod claims;
mod conflicts;
mod connection;
pub mod documents;
pub mod explain;
mod facts;
pub mod fault;
pub mod inspect;
pub mod leases;
pub mod migrate;
mod nodelay;
pub mod overview;
pub mod partitions;
mod patches;
mod plan;
pub mod positions;
pub mod quarantine;
pub mod rebuild;
pub mod reconcile;
pub mod refused;
pub mod repartition;
pub mod retention;
pub mod rollup;
mod row;
pub mod showcase;
pub mod verify;
mod write;

pub use claims::Claims;
pub use connection::{Settings, Store};
pub use write::{MASS, Tally, Written};
