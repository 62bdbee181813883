//! What the tests stand on.

mod body;
mod daemon;
mod database;
mod postgres;
pub mod program;
mod queue;
pub mod store;
mod tests;
mod wait;

pub use body::{base64, body, click, conversion, envelope, gzip, nested};
pub use daemon::{Daemon, Ended, hydrant};
pub use database::{Database, database};
pub use postgres::{Postgres, Stop, free_port};
pub use queue::{Counts, Queue};
pub use wait::wait_until;
