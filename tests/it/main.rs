//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod cli;
mod faults;
mod large_bodies;
mod readme;
mod refusals;
mod repartition;
mod spellings;
mod starting;
mod stopping;
mod support;
