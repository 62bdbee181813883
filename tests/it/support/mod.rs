//! What the tests stand on.

mod body;
pub mod browser;
pub mod bucket;
mod daemon;
mod database;
mod local_stream;
mod ministack;
mod postgres;
pub mod program;
pub mod proxy;
mod queue;
pub mod sqs_proxy;
pub mod store;
mod stream;
mod tests;
mod wait;
pub mod webhook;

pub use body::{base64, body, click, conversion, envelope, gzip, nested};
pub use daemon::{AWS_SECRET, Daemon, Ended, hydrant};
pub use database::{Database, database};
pub use local_stream::LocalStream;
pub use ministack::Ministack;
pub use postgres::{Postgres, Stop, free_port};
pub use queue::{Counts, Queue};
pub use stream::Stream;
pub use wait::wait_until;
