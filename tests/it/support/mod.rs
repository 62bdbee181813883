//! What the tests stand on.

mod database;
mod postgres;
mod tests;

pub use database::{Database, database};
pub use postgres::{Postgres, Stop};
