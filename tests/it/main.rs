//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod breaker;
mod check;
mod cli;
mod configuration;
mod convergence;
mod decode;
mod demo;
mod faults;
mod large_bodies;
mod patch_lock;
mod plans;
mod quarantine;
mod races;
mod readme;
mod refusals;
mod repartition;
mod schema;
mod spellings;
mod starting;
mod stopping;
mod support;
