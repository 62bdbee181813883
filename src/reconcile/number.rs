//! Numbers as people and spreadsheets write them: with marks of thousands, signs of currencies, and a comma for a point.

use crate::amount::Amount;

/// What stands before the decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DecimalMark {
    /// 1,234.50
    Point,
    /// 1.234,50
    Comma,
}

impl DecimalMark {
    pub fn as_str(self) -> &'static str {
        match self {
            DecimalMark::Point => "point",
            DecimalMark::Comma => "comma",
        }
    }
}

/// What a number comes to if its decimal mark is a point, and if it is a comma; `None` where it is no number then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings {
    point: Option<Reading>,
    comma: Option<Reading>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    value: Amount,
    has_decimals: bool,
}

impl Readings {
    /// A cell that is blank is 0.
    pub fn of(cell: &str) -> Readings {
        let cell = cell.trim();
        if cell.is_empty() {
            return Readings::sure(Some(Amount::ZERO));
        }
        if cell.contains(['e', 'E']) {
            // 1e-05, as programs write it.
            return match Amount::parse(cell) {
                value @ Some(_) => Readings {
                    comma: None,
                    ..Readings::sure(value)
                },
                None => Readings::plain(cell),
            };
        }
        Readings::plain(cell)
    }

    fn plain(cell: &str) -> Readings {
        let Some((is_negative, number)) = bare(cell) else {
            return Readings::sure(None);
        };
        let by = |mark| read(is_negative, number, mark);
        Readings {
            point: by('.'),
            comma: by(','),
        }
    }

    fn sure(value: Option<Amount>) -> Readings {
        let reading = value.map(|value| Reading {
            value,
            has_decimals: false,
        });
        Readings {
            point: reading,
            comma: reading,
        }
    }

    /// The same for a count, which has no decimals where it can be read so.
    pub fn as_count(self) -> Readings {
        let without = |reading: Option<Reading>| reading.filter(|reading| !reading.has_decimals);
        match (without(self.point), without(self.comma)) {
            (None, None) => self,
            (point, comma) => Readings { point, comma },
        }
    }

    pub fn is_number(self) -> bool {
        self.point.is_some() || self.comma.is_some()
    }

    /// The decimal mark that the cell gives away.
    pub fn tells(self) -> Option<DecimalMark> {
        match (self.point, self.comma) {
            (Some(_), None) => Some(DecimalMark::Point),
            (None, Some(_)) => Some(DecimalMark::Comma),
            _ => None,
        }
    }

    /// The value; `None` where it is no number, or where nobody knows the mark and it makes a difference.
    pub fn value(self, mark: Option<DecimalMark>) -> Option<Amount> {
        let reading = match mark {
            Some(DecimalMark::Point) => self.point,
            Some(DecimalMark::Comma) => self.comma,
            None if self.point.map(|one| one.value) == self.comma.map(|one| one.value) => {
                self.point
            }
            None => None,
        };
        reading.map(|reading| reading.value)
    }
}

/// Whether it is negative, and the number without signs, parentheses and currency.
fn bare(cell: &str) -> Option<(bool, &str)> {
    let inner = cell
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let (in_parentheses, mut rest) = (inner.is_some(), inner.unwrap_or(cell).trim());
    let mut is_negative = in_parentheses;
    let mut has_sign = in_parentheses;
    let mut has_currency = false;
    while let Some(first) = rest.chars().next().filter(|first| !first.is_ascii_digit()) {
        match first {
            // .5
            '.' | ',' => break,
            '-' | '\u{2212}' | '+' if !has_sign => {
                has_sign = true;
                is_negative = first != '+';
                rest = &rest[first.len_utf8()..];
            }
            _ if !has_currency => {
                has_currency = true;
                rest = without_currency(rest)?;
            }
            _ => return None,
        }
        rest = rest.trim_start();
    }
    let end = rest.rfind(|c: char| c.is_ascii_digit())? + 1;
    let behind = rest[end..].trim();
    let is_number = behind.is_empty() || (!has_currency && without_currency(behind) == Some(""));
    is_number.then_some((is_negative, &rest[..end]))
}

/// The text behind a sign or a code of a currency: €, US$, EUR.
fn without_currency(text: &str) -> Option<&str> {
    const SIGNS: [char; 14] = [
        '$', '€', '£', '¥', '₹', '₽', '₺', '₩', '₪', '₫', '฿', '₴', '₦', '₱',
    ];
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let rest = &text[letters..];
    match rest.strip_prefix(SIGNS) {
        Some(rest) if letters < 3 => Some(rest),
        None if letters == 3 => Some(rest),
        _ => None,
    }
}

/// Reads digits with `mark` before the decimals, and at most one kind of mark between thousands.
fn read(is_negative: bool, number: &str, mark: char) -> Option<Reading> {
    let (whole, decimals) = match number.split_once(mark) {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (number, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.is_some_and(|decimals| decimals.is_empty() || !is_digits(decimals)) {
        return None;
    }
    let mut plain = String::from(if is_negative { "-" } else { "" });
    match whole.find(|c: char| !c.is_ascii_digit()) {
        None => plain += whole,
        Some(at) => {
            let between = whole[at..].chars().next()?;
            let groups: Vec<&str> = whole.split(between).collect();
            let is_grouped = (1..=3).contains(&groups[0].len())
                && !groups[0].starts_with('0')
                && groups[1..].iter().all(|group| group.len() == 3)
                && groups.iter().all(|group| is_digits(group));
            if !is_mark_of_thousands(between) || !is_grouped {
                return None;
            }
            plain += &groups.concat();
        }
    }
    if let Some(decimals) = decimals {
        plain = format!("{plain}.{decimals}");
    }
    Some(Reading {
        value: Amount::parse(&plain)?,
        has_decimals: decimals.is_some(),
    })
}

fn is_mark_of_thousands(c: char) -> bool {
    matches!(c, '.' | ',' | '\'' | '\u{2019}') || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(cell: &str, mark: Option<DecimalMark>) -> Option<String> {
        let value = Readings::of(cell).value(mark);
        value.map(|value| value.to_string())
    }

    #[test]
    fn what_says_its_decimal_mark() {
        use DecimalMark::{Comma, Point};
        for (cell, mark, expected) in [
            ("12.50", Point, "12.5"),
            ("$1,234.50", Point, "1234.5"),
            ("1,234,567", Point, "1234567"),
            ("1234.567", Point, "1234.567"),
            ("0.123", Point, "0.123"),
            (".5", Point, "0.5"),
            ("1e-05", Point, "0.00001"),
            ("12,50", Comma, "12.5"),
            ("1.234,50 €", Comma, "1234.5"),
            ("1 234,50", Comma, "1234.5"),
            ("1\u{202f}234,5\u{a0}EUR", Comma, "1234.5"),
            ("(1'234.50)", Point, "-1234.5"),
            ("-$0.07", Point, "-0.07"),
            ("US$ -0.07", Point, "-0.07"),
            ("\u{2212}0,07", Comma, "-0.07"),
        ] {
            let readings = Readings::of(cell);
            assert_eq!(readings.tells(), Some(mark), "{cell}");
            assert_eq!(value(cell, None), None, "{cell}: nobody has said the mark");
            assert_eq!(value(cell, Some(mark)).as_deref(), Some(expected), "{cell}");
        }
    }

    #[test]
    fn what_does_not_need_one() {
        for (cell, expected) in [
            ("", "0"),
            (" 7 ", "7"),
            ("1234", "1234"),
            ("1 234", "1234"),
            ("(3)", "-3"),
            ("EUR 5", "5"),
        ] {
            assert_eq!(value(cell, None).as_deref(), Some(expected), "{cell}");
            assert_eq!(Readings::of(cell).tells(), None, "{cell}");
        }
    }

    #[test]
    fn what_could_be_either() {
        for cell in ["1,234", "12.345", "-999.999"] {
            let readings = Readings::of(cell);
            assert!(readings.is_number() && readings.tells().is_none(), "{cell}");
            assert_eq!(readings.value(None), None, "{cell}");
        }
        assert_eq!(
            value("1,234", Some(DecimalMark::Point)).as_deref(),
            Some("1234")
        );
        assert_eq!(
            value("1,234", Some(DecimalMark::Comma)).as_deref(),
            Some("1.234")
        );
    }

    #[test]
    fn a_count_has_no_decimals() {
        let count = |cell| Readings::of(cell).as_count();
        assert_eq!(count("1,234").tells(), Some(DecimalMark::Point));
        assert_eq!(count("1.234").tells(), Some(DecimalMark::Comma));
        assert_eq!(
            count("3.0")
                .value(Some(DecimalMark::Point))
                .map(|v| v.to_string()),
            Some("3".into())
        );
    }

    #[test]
    fn what_is_no_number() {
        for cell in [
            "-",
            "n/a",
            "12%",
            "1,23,456",
            "12.34.5",
            "5.",
            "--5",
            "1-2",
            "$",
            "$$5",
            "(5",
            "USD EUR 5",
            "1.234,5.6",
            "12.50x",
            "1 234 5",
            "eur 5",
            "NaN",
            "1e16",
            "0,123,456",
        ] {
            assert!(!Readings::of(cell).is_number(), "{cell}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_style_the_value_is_read_back(
            cents in -10_000_000_000_i64..10_000_000_000,
            thousands in prop::sample::select(vec!["", ".", ",", " ", "'"]),
            mark in prop::sample::select(vec!['.', ',']),
            sign in prop::sample::select(vec!["{}", "${}", "{} €", "USD {}"]),
        ) {
            prop_assume!(thousands != mark.to_string());
            let magnitude = cents.unsigned_abs();
            let digits = (magnitude / 100).to_string();
            let groups: Vec<String> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| String::from_utf8_lossy(group).into_owned())
                .collect();
            let minus = if cents < 0 { "-" } else { "" };
            let number = format!("{}{mark}{:02}", groups.join(thousands), magnitude % 100);
            let cell = format!("{minus}{}", sign.replace("{}", &number));
            let expected = Amount::parse(&format!("{minus}{}.{:02}", magnitude / 100, magnitude % 100));
            let readings = Readings::of(&cell);
            let told = if mark == '.' { DecimalMark::Point } else { DecimalMark::Comma };
            prop_assert_eq!(readings.tells(), Some(told), "{}", &cell);
            prop_assert_eq!(readings.value(Some(told)), expected, "{}", &cell);
        }
    }
}
