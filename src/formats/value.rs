//! Values of known fields, typed as their columns: the same for every feed.

use std::borrow::Cow;

use time::{Date, Month};

use crate::amount::Amount;
use crate::json::{self, Scalar};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    BigInt,
    Integer,
    SmallInt,
    Boolean,
    Date,
    /// Without time zone.
    Timestamp,
    /// `numeric`: an exact decimal, see [`crate::amount::Amount`].
    Amount,
    Text,
    /// Text that is compared by its bytes.
    Key,
}

/// The value of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Blank: absent, null or "".
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    Amount(Amount),
    Bool(bool),
    Date(Day),
    Timestamp(Moment),
}

/// A day, as days since 2000-01-01, which is how Postgres counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// Julian day of 2000-01-01.
const POSTGRES_EPOCH: i32 = 2_451_545;
const SECONDS_PER_DAY: i64 = 86_400;
/// 2000-01-01 in days since 1970-01-01.
const POSTGRES_EPOCH_UNIX_DAY: i64 = 10_957;

impl Day {
    /// 1970-01-01: the day of an event that tells none.
    pub const EPOCH: Day = Day(-(POSTGRES_EPOCH_UNIX_DAY as i32));
    /// 0001-01-01: the partition day of every conversion. No event has it: years below 1000 are not parsed.
    pub const CONVERSIONS: Day = Day(-730_119);

    /// Parses YYYY-MM-DD with a year from 1000.
    pub fn parse(text: &str) -> Option<Day> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[0] == b'0' {
            return None;
        }
        let month = Month::try_from(u8::try_from(digits(&bytes[5..7])?).ok()?).ok()?;
        let day = u8::try_from(digits(&bytes[8..10])?).ok()?;
        Day::of(
            Date::from_calendar_date(i32::try_from(digits(&bytes[..4])?).ok()?, month, day).ok()?,
        )
    }

    /// The day (UTC) of a time; `None` beyond the year 9999.
    pub fn of_unix_seconds(seconds: i64) -> Option<Day> {
        let days = seconds.div_euclid(SECONDS_PER_DAY) - POSTGRES_EPOCH_UNIX_DAY;
        let day = Day(i32::try_from(days).ok()?);
        day.date().filter(|date| date.year() >= 1000).map(|_| day)
    }

    pub fn plus(self, days: i32) -> Day {
        Day(self.0 + days)
    }

    fn of(date: Date) -> Option<Day> {
        Some(Day(date.to_julian_day() - POSTGRES_EPOCH))
    }

    fn date(self) -> Option<Date> {
        Date::from_julian_day(self.0.checked_add(POSTGRES_EPOCH)?).ok()
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.date() {
            Some(date) => write!(
                f,
                "{:04}-{:02}-{:02}",
                date.year(),
                u8::from(date.month()),
                date.day()
            ),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// A time without zone, as microseconds since 2000-01-01 00:00, which is how Postgres counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// Parses YYYY-MM-DD HH:MM:SS, with `T` for the space and up to six digits of a second's fraction if need be.
    pub fn parse(text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        if bytes.len() < 19
            || !matches!(bytes[10], b' ' | b'T')
            || bytes[13] != b':'
            || bytes[16] != b':'
        {
            return None;
        }
        let day = Day::parse(text.get(..10)?)?;
        let [hour, minute, second] = [11, 14, 17].map(|at| digits(&bytes[at..at + 2]));
        let (hour, minute, second) = (
            hour.filter(|h| *h < 24)?,
            minute.filter(|m| *m < 60)?,
            second.filter(|s| *s < 60)?,
        );
        let micros = match &bytes[19..] {
            [] => 0,
            [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
                digits(fraction)? * 10i64.pow(6 - fraction.len() as u32)
            }
            _ => return None,
        };
        let seconds = i64::from(day.0) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        Some(Moment(seconds * 1_000_000 + micros))
    }
}

impl std::fmt::Display for Moment {
    /// As Postgres writes it: without a fraction that is zero, and without the zeros at the end of one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        // Parsing made sure that the year has four digits.
        let day = Day(seconds.div_euclid(SECONDS_PER_DAY) as i32);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{day} {hour:02}:{minute:02}:{second:02}")?;
        match micros {
            0 => Ok(()),
            _ => write!(f, ".{}", format!("{micros:06}").trim_end_matches('0')),
        }
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
    })
}

/// A JSON value as a value of a column's type; `None` where it does not fit. Dates are parsed here and never by the
/// database, which takes "now" and "infinity" for dates.
pub fn convert(scalar: Scalar<'_>, kind: Type) -> Option<Value<'_>> {
    if matches!(&scalar, Scalar::Null)
        || matches!(&scalar, Scalar::Text(text) if text.value.is_empty())
    {
        return Some(Value::Null);
    }
    match kind {
        Type::Text | Type::Key => text(scalar).map(Value::Text),
        Type::BigInt => integer(&scalar).map(Value::Int),
        Type::Integer => integer(&scalar)
            .filter(|n| i32::try_from(*n).is_ok())
            .map(Value::Int),
        Type::SmallInt => integer(&scalar)
            .filter(|n| i16::try_from(*n).is_ok())
            .map(Value::Int),
        Type::Boolean => boolean(&scalar).map(Value::Bool),
        Type::Amount => plain(&scalar).and_then(Amount::parse).map(Value::Amount),
        Type::Date => string(&scalar).and_then(Day::parse).map(Value::Date),
        Type::Timestamp => string(&scalar)
            .and_then(Moment::parse)
            .map(Value::Timestamp),
    }
}

fn text(scalar: Scalar<'_>) -> Option<Cow<'_, str>> {
    match scalar {
        Scalar::Text(text) => Some(text.value),
        Scalar::Number(number) => Some(json::plain_number(number).unwrap_or(Cow::Borrowed(number))),
        Scalar::Bool(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
        Scalar::Null | Scalar::Nested => None,
    }
}

/// An integer in number or text, however it is written.
fn integer(scalar: &Scalar<'_>) -> Option<i64> {
    let text = plain(scalar)?;
    if let Ok(integer) = text.parse() {
        return Some(integer);
    }
    // 1029.0 and 1e3 are integers as well; "+5e1", "0x5" and "ten" are no numbers.
    serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
    matches!(json::scalar(text), Scalar::Number(_))
        .then(|| json::plain_number(text)?.parse().ok())?
}

fn boolean(scalar: &Scalar<'_>) -> Option<bool> {
    match scalar {
        Scalar::Bool(value) => Some(*value),
        _ => match plain(scalar)? {
            "1" => Some(true),
            "0" => Some(false),
            word if word.eq_ignore_ascii_case("true") => Some(true),
            word if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        },
    }
}

/// The text of a number, or of a string that may hold one.
fn plain<'a>(scalar: &'a Scalar<'_>) -> Option<&'a str> {
    match scalar {
        Scalar::Number(number) => Some(number),
        Scalar::Text(text) => Some(text.value.trim_ascii()),
        _ => None,
    }
}

fn string<'a>(scalar: &'a Scalar<'_>) -> Option<&'a str> {
    match scalar {
        Scalar::Text(text) => Some(text.value.trim_ascii()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_postgres_does() {
        assert_eq!(Day::parse("2000-01-01"), Some(Day(0)));
        assert_eq!(Day::parse("1970-01-01"), Some(Day::EPOCH));
        assert_eq!(Day::parse("2026-10-02").unwrap().to_string(), "2026-10-02");
        assert_eq!(Day::CONVERSIONS.to_string(), "0001-01-01");
        for text in [
            "",
            "now",
            "infinity",
            "2026-02-30",
            "0000-00-00",
            "0001-01-01",
            "2026-1-1",
            "2026-13-01",
            "26-10-01",
            "2026/10/01",
            "2026-10-0\u{663}",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert_eq!(Day::of_unix_seconds(-1), Some(Day(Day::EPOCH.0 - 1)));
        assert_eq!(Day::of_unix_seconds(i64::MAX), None);
        assert_eq!(Day::of_unix_seconds(i64::MIN), None);
    }

    #[test]
    fn moments_have_no_zone() {
        assert_eq!(
            Moment::parse("2000-01-01 00:00:01"),
            Some(Moment(1_000_000))
        );
        assert_eq!(
            Moment::parse("2000-01-02T00:00:00.25"),
            Some(Moment(86_400_250_000))
        );
        for text in [
            "2026-10-02 03:04:05",
            "1970-12-31 23:59:59.25",
            "1000-01-01 00:00:00.000001",
        ] {
            assert_eq!(Moment::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "2000-01-01",
            "2000-01-01 24:00:00",
            "2000-01-01 00:60:00",
            "2000-01-01 00:00:60",
            "2000-01-01 00:00:00Z",
            "2000-01-01 00:00:00.",
            "2000-01-01 00:00:00.1234567",
            "2000-01-01 00:00:0x",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn values_fit_their_columns_or_not_at_all() {
        let convert = |raw: &'static str, kind| convert(json::scalar(raw), kind);
        for (raw, kind, value) in [
            ("null", Type::BigInt, Some(Value::Null)),
            ("\"\"", Type::Amount, Some(Value::Null)),
            ("\"1029\"", Type::BigInt, Some(Value::Int(1029))),
            ("1029.0", Type::BigInt, Some(Value::Int(1029))),
            ("1e3", Type::BigInt, Some(Value::Int(1000))),
            ("\" 7 \"", Type::BigInt, Some(Value::Int(7))),
            ("\"7;\"", Type::BigInt, None),
            ("\"0x7\"", Type::BigInt, None),
            ("1.5", Type::BigInt, None),
            ("true", Type::BigInt, None),
            ("1000000000000000000000000000000", Type::BigInt, None),
            ("40000", Type::SmallInt, None),
            ("\"05\"", Type::SmallInt, Some(Value::Int(5))),
            ("3000000000", Type::Integer, None),
            ("1.50", Type::Text, Some(Value::Text("1.5".into()))),
            ("true", Type::Text, Some(Value::Text("true".into()))),
            ("[1]", Type::Text, None),
            ("1", Type::Boolean, Some(Value::Bool(true))),
            ("\"False\"", Type::Boolean, Some(Value::Bool(false))),
            ("2", Type::Boolean, None),
            (
                "\"1.50\"",
                Type::Amount,
                Amount::parse("1.5").map(Value::Amount),
            ),
            ("true", Type::Amount, None),
            ("\"NaN\"", Type::Amount, None),
            ("20261001", Type::Date, None),
        ] {
            assert_eq!(convert(raw, kind), value, "{raw} as {kind:?}");
        }
    }
}
