//! What an error of the database means: by SQLSTATE, never by its text.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

/// Sorted by what the caller does.
#[derive(Debug)]
pub enum Fault {
    /// A value that Postgres refuses: find the culprit, quarantine it alone. Holds the SQLSTATE.
    Data(String),
    /// Another writer was faster, or the partitions are not what we thought: look again and redo.
    Race(anyhow::Error),
    /// A deadlock, a lock that others hold: the same again, soon.
    Contention(anyhow::Error),
    /// Too much for the limits of the server: the same in smaller pieces.
    TooMuch(anyhow::Error),
    /// More than half of a batch was refused: that is our mistake, not the data's. Nothing is quarantined.
    MassRefusal(anyhow::Error),
    /// COMMIT was sent, and what became of it is not known: the same again, which changes nothing if it was done.
    Unknown(anyhow::Error),
    /// COMMIT came to a transaction that had failed: a mistake of ours, or of the server. The same again.
    RolledBack(anyhow::Error),
    /// The store cannot be written: wait, with a new connection.
    Down(Why, anyhow::Error),
}

/// Why the store cannot be written: the label of the metric and the words of `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Not reachable, shutting down, full, or anything not known.
    Unavailable,
    /// Read-only: a standby, or a primary that was demoted.
    ReadOnly,
    /// It refuses us: password, rights, tables. At start-up that is the end; later it may be a rotation or a migration.
    Misconfigured,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Unavailable => "store_unavailable",
            Why::ReadOnly => "store_read_only",
            Why::Misconfigured => "store_misconfigured",
        }
    }
}

impl Fault {
    /// Sorts an error; `doing` says what failed.
    pub fn new(error: sqlx::Error, doing: &'static str) -> Fault {
        let Some(state) = sqlstate(&error) else {
            return Fault::Down(Why::Unavailable, wrap(error, doing));
        };
        match state.as_str() {
            // A COPY that met another writer's row.
            "23505" => Fault::Race(wrap(error, doing)),
            // A partition that came or went. A CHECK has a name: none is ours, but the database's owner may have one.
            "23514" if constraint(&error).is_none() => Fault::Race(wrap(error, doing)),
            "25006" => Fault::Down(Why::ReadOnly, wrap(error, doing)),
            "55P03" => Fault::Contention(wrap(error, doing)),
            "57014" | "53200" => Fault::TooMuch(wrap(error, doing)),
            _ => match &state[..state.len().min(2)] {
                "40" => Fault::Contention(wrap(error, doing)),
                "21" | "22" | "23" | "54" => Fault::Data(state),
                "28" | "3D" | "3F" | "42" => Fault::Down(Why::Misconfigured, wrap(error, doing)),
                _ => Fault::Down(Why::Unavailable, wrap(error, doing)),
            },
        }
    }

    /// Sorts an error of `select 1; commit`. Of a COMMIT that failed the server tells why, as of any statement; in a
    /// transaction that failed before nothing is done any more, which the statement before COMMIT shows.
    pub fn of_commit(error: sqlx::Error) -> Fault {
        match sqlstate(&error).as_deref() {
            Some("25P02") => {
                Fault::RolledBack(wrap(error, "the transaction had failed before its COMMIT"))
            }
            None | Some("40003" | "08007" | "08006") => {
                Fault::Unknown(wrap(error, "could not commit: the outcome is unknown"))
            }
            Some(_) => Fault::new(error, "could not commit"),
        }
    }

    /// The store is there, but not ours to write.
    pub fn down(why: Why, sentence: impl fmt::Display) -> Fault {
        Fault::Down(why, anyhow::anyhow!("{sentence}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Data(state) => write!(f, "the database refused a value (SQLSTATE {state})"),
            Fault::Race(error)
            | Fault::Contention(error)
            | Fault::TooMuch(error)
            | Fault::MassRefusal(error)
            | Fault::Unknown(error)
            | Fault::RolledBack(error)
            | Fault::Down(_, error) => {
                write!(f, "{error:#}")
            }
        }
    }
}

impl std::error::Error for Fault {}

fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// The SQLSTATE, where the server answered at all.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(|code| code.into_owned())
}

/// Whether a function in the database raised the error: its words are its author's, and may hold values of a row.
fn is_raised(error: &sqlx::Error, state: &str) -> bool {
    let postgres = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    state.starts_with("P0")
        || postgres.and_then(PgDatabaseError::routine) == Some("exec_stmt_raise")
}

/// The error of the server without its detail, which may hold values of a row.
fn wrap(error: sqlx::Error, doing: &'static str) -> anyhow::Error {
    match error.as_database_error() {
        Some(database) => {
            let state = database.code().unwrap_or_default().into_owned();
            let hint = if state == "42P01" {
                "; has hydrant migrate been run?"
            } else {
                ""
            };
            let message = if is_raised(&error, &state) {
                "a function or trigger of the database raised an exception"
            } else {
                database.message()
            };
            anyhow::anyhow!("{doing}: {message} (SQLSTATE {state}){hint}")
        }
        // Its causes are in its own words already.
        None => anyhow::anyhow!("{doing}: {error}"),
    }
}
