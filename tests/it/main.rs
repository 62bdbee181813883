//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod decode;
mod quarantine;
mod readme;
mod repartition;
mod support;
