//! The integration tests: one binary, against real servers that the tests start themselves.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod breaker;
mod check;
mod cli;
mod commits;
mod configuration;
mod convergence;
mod crash_points;
mod decode;
mod demo;
mod deploy;
mod documents;
mod everflow;
mod explain;
mod faults;
mod fuzzed;
mod generated;
mod health;
mod kinesis;
mod large_bodies;
mod leaks;
mod objects;
mod outages;
mod pages;
mod patch_lock;
mod plans;
mod published;
mod quarantine;
mod queue_faults;
mod races;
mod recipes;
mod reconcile;
mod recurly;
mod refusals;
mod repartition;
mod replay;
mod retention;
mod roles;
mod rollup;
mod schema;
mod shell;
mod spellings;
mod starting;
mod status;
mod stopping;
mod supervisor;
mod support;
mod suspects;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod verify;
mod webhooks;
