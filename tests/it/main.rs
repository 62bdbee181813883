//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod check;
mod configuration;
mod readme;
mod repartition;
mod support;
