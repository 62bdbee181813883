//! Hydrant lands affiliate-marketing event feeds in Postgres, exactly once in effect.

pub mod stand_in;
