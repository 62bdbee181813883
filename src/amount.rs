//! Exact decimal amounts: parsed from a number's text, never through a float, because float sums depend on their order.

use std::fmt;

/// Decimal places that an [`Amount`] holds.
const PLACES: i32 = 12;
/// One whole unit.
const UNIT: i128 = 10i128.pow(PLACES as u32);
/// Amounts are below 10^15 units.
const LIMIT: i128 = 10i128.pow(15) * UNIT;

/// A decimal below 10^15 with at most 12 places; sums of amounts may be greater.
///
/// Equal values are equal, however they were written: 1, 1.0 and 1e0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    pub const ZERO: Amount = Amount(0);
    pub const ONE: Amount = Amount(UNIT);

    /// Parses a plain decimal, with or without sign and exponent. `None` if it is anything else, 10^15 or more, or has
    /// more than 12 places.
    pub fn parse(text: &str) -> Option<Amount> {
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (negative, digits) = match digits.as_bytes().first()? {
            b'-' => (true, &digits[1..]),
            b'+' => (false, &digits[1..]),
            _ => (false, digits),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        // The value is the digits times ten to the power of `exponent - fraction.len()`.
        let mut value: i128 = 0;
        let mut dropped = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            if value >= i128::MAX / 100 {
                // Beyond 36 significant digits only zeros can follow in an amount that fits.
                if digit != b'0' {
                    return None;
                }
                dropped += 1;
            } else {
                value = value * 10 + i128::from(digit - b'0');
            }
        }
        let fraction = i32::try_from(fraction.len()).ok()?;
        let shift = exponent
            .checked_sub(fraction)?
            .checked_add(dropped)?
            .checked_add(PLACES)?;
        let value = if value == 0 {
            0
        } else {
            shifted(value, shift)?
        };
        (value < LIMIT).then_some(Amount(if negative { -value } else { value }))
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; `None` where it does not fit 128 bits, which takes more than 10^11 amounts.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// Appends Postgres' binary `numeric`: digits to the base of 10,000, without trailing zeros.
    pub fn write_numeric(self, out: &mut Vec<u8>) {
        let mut digits = [0i16; 11];
        // Twelve places are exactly three digits to the base of 10,000.
        let mut rest = self.0.unsigned_abs();
        let mut count = 0;
        while rest > 0 {
            digits[count] = (rest % 10_000) as i16;
            rest /= 10_000;
            count += 1;
        }
        let trailing = digits[..count]
            .iter()
            .take_while(|digit| **digit == 0)
            .count();
        let written = &digits[trailing.min(count)..count];
        let weight = if written.is_empty() {
            0
        } else {
            count as i16 - 1 - 3
        };
        let sign: u16 = if self.0 < 0 { 0x4000 } else { 0 };
        out.extend_from_slice(&(written.len() as i16).to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&(self.places() as i16).to_be_bytes());
        for digit in written.iter().rev() {
            out.extend_from_slice(&digit.to_be_bytes());
        }
    }

    /// How many decimal places it takes to write it.
    fn places(self) -> u32 {
        let mut fraction = self.0.unsigned_abs() % UNIT as u128;
        if fraction == 0 {
            return 0;
        }
        let mut places = PLACES as u32;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            places -= 1;
        }
        places
    }
}

/// `value` times ten to the power of `shift`, if that is a whole number below [`LIMIT`].
fn shifted(mut value: i128, shift: i32) -> Option<i128> {
    for _ in 0..shift.unsigned_abs() {
        if shift > 0 {
            value = value.checked_mul(10).filter(|v| *v < LIMIT)?;
        } else if value % 10 != 0 {
            return None;
        } else {
            value /= 10;
        }
    }
    Some(value)
}

/// The exponent of a number; a huge one is cut to where no amount fits any more.
fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i32>().unwrap_or(i32::MAX).min(1_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        write!(f, "{sign}{}", value / UNIT as u128)?;
        match self.places() as usize {
            0 => Ok(()),
            places => write!(f, ".{}", &format!("{:012}", value % UNIT as u128)[..places]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_counts_not_its_writing() {
        for (text, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("1.0", "1"),
            ("1e0", "1"),
            ("12.50", "12.5"),
            ("1e-05", "0.00001"),
            ("2.5E-3", "0.0025"),
            ("-0.000000000001", "-0.000000000001"),
            ("1.0000000000000000000000000000000000000000000000", "1"),
            ("0e999999999999", "0"),
            ("100e-2", "1"),
            ("123456789012345.67891", "123456789012345.67891"),
            (
                "999999999999999.999999999999",
                "999999999999999.999999999999",
            ),
            ("+.5", "0.5"),
            ("5.", "5"),
        ] {
            assert_eq!(Amount::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "ten",
            "NaN",
            "Infinity",
            "inf",
            "1,5",
            "1 000",
            "0x10",
            "1e15",
            "1000000000000000",
            "1e400",
            "1e99999999999",
            "0.0000000000001",
            "1e-13",
            "--1",
            "1.2.3",
            "1_0",
        ] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numeric_has_digits_to_the_base_of_10000() {
        let numeric = |text: &str| {
            let mut out = Vec::new();
            Amount::parse(text).unwrap().write_numeric(&mut out);
            out.chunks(2)
                .map(|c| i16::from_be_bytes([c[0], c[1]]))
                .collect::<Vec<_>>()
        };
        assert_eq!(numeric("0"), [0, 0, 0, 0]);
        assert_eq!(numeric("1"), [1, 0, 0, 0, 1]);
        assert_eq!(numeric("-12.5"), [2, 0, 0x4000, 1, 12, 5000]);
        assert_eq!(numeric("0.00001"), [1, -2, 0, 5, 1000]);
        assert_eq!(
            numeric("123456789.000000000001"),
            [6, 2, 0, 12, 1, 2345, 6789, 0, 0, 1]
        );
        assert_eq!(numeric("10000"), [1, 1, 0, 0, 1]);
    }
}
