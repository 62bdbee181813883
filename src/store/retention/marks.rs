//! How far retention has come: the table `retention_marks`.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use crate::formats::value::Day;
use crate::store::connection::quote_literal;
use crate::store::fault::Fault;

/// Notes that days before this one may lack clicks and impressions.
pub async fn mark_events(connection: &mut PgConnection, before: Day) -> Result<(), Fault> {
    sqlx::query(
        "insert into retention_marks as m (kind, before) values ('events', date '2000-01-01' + $1)
         on conflict on constraint retention_marks_kind do update set before = greatest(m.before, excluded.before)",
    )
    .bind(before.0)
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not note how far events were dropped"))?;
    Ok(())
}

/// Whose personal values. Each has a mark of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// HasOffers' facts, by the day of the event.
    Facts,
    /// Documents of the other feeds, by the day on which they came.
    Documents,
}

impl Whose {
    fn kind(self) -> &'static str {
        match self {
            Whose::Facts => "personal",
            Whose::Documents => "personal_other",
        }
    }
}

/// How far personal values are blanked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// Of days before this one they may be.
    pub before: Option<Day>,
    /// Of days before this one they are, as far as they were there at `looked_at`.
    pub complete_before: Option<Day>,
    /// Columns that may hold values all the same.
    pub kept: Vec<String>,
    /// As Postgres writes it.
    pub looked_at: Option<String>,
}

impl Mark {
    /// Reads it; all is empty where nothing was blanked yet.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn read(connection: &mut PgConnection, whose: Whose) -> Result<Mark, Fault> {
        let row = sqlx::query(
            "select before - date '2000-01-01', complete_before - date '2000-01-01', kept, looked_at::text
             from retention_marks where kind = $1",
        )
        .bind(whose.kind())
        .persistent(false)
        .fetch_optional(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read how far personal values are blanked"))?;
        Ok(row.map_or_else(Mark::default, |row| Mark {
            before: Some(Day(row.get(0))),
            complete_before: row.get::<Option<i32>, _>(1).map(Day),
            kept: row.get(2),
            looked_at: row.get(3),
        }))
    }

    /// Since when there may be values that were not looked at, in SQL. A day more than `looked_at`: what was under way then
    /// has its time from before.
    pub fn since(&self) -> String {
        match &self.looked_at {
            None => "'-infinity'::timestamptz".to_owned(),
            Some(at) => format!("{}::timestamptz - interval '1 day'", quote_literal(at)),
        }
    }

    /// Notes that values of days before this one may be blank from now on, but for these columns.
    pub(super) async fn widen(
        connection: &mut PgConnection,
        whose: Whose,
        before: Day,
        keep: &[String],
    ) -> Result<(), Fault> {
        sqlx::query(
            "insert into retention_marks as m (kind, before, kept)
             values ($1, date '2000-01-01' + $2, $3)
             on conflict on constraint retention_marks_kind do update set
                 before = greatest(m.before, excluded.before),
                 kept = array(select unnest(m.kept) union select unnest(excluded.kept) order by 1)",
        )
        .bind(whose.kind())
        .bind(before.0)
        .bind(keep)
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not note how far personal values are blanked"))?;
        Ok(())
    }

    /// Notes that everything of days before this one was looked at, which began at a time.
    pub(super) async fn complete(
        connection: &mut PgConnection,
        whose: Whose,
        before: Day,
        keep: &[String],
        began: &str,
    ) -> Result<(), Fault> {
        sqlx::query(
            "update retention_marks set complete_before = date '2000-01-01' + $2, kept = $3,
                 looked_at = $4::timestamptz
             where kind = $1",
        )
        .bind(whose.kind())
        .bind(before.0)
        .bind(keep)
        .bind(began)
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not note that personal values are blanked"))?;
        Ok(())
    }
}
