//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod convergence;
mod decode;
mod demo;
mod patch_lock;
mod plans;
mod quarantine;
mod races;
mod readme;
mod repartition;
mod schema;
mod support;
