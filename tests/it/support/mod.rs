//! What the tests stand on.

mod database;
mod postgres;
pub mod program;
pub mod store;
mod tests;

pub use database::{Database, database};
pub use postgres::{Postgres, Stop};
