//! Exact decimal amounts: parsed from a number's text, never through a float, because float sums depend on their order.

use std::fmt;

/// Decimal places that an [`Amount`] holds.
const PLACES: i32 = 12;
/// One whole unit.
const UNIT: i128 = 10i128.pow(PLACES as u32);
/// A head of eight bytes, and two bytes for each of up to eleven digits.
const NUMERIC_LENGTH_MAX: usize = 30;
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

    pub fn abs(self) -> Amount {
        Amount(self.0.abs())
    }

    /// Postgres' binary `numeric` and how long it is: digits to the base of 10,000, without trailing zeros.
    pub fn numeric(self) -> ([u8; NUMERIC_LENGTH_MAX], usize) {
        let mut digits = [0i16; 11];
        // Twelve places are exactly three digits to the base of 10,000.
        let mut rest = self.0.unsigned_abs();
        let mut count = 0;
        // Nearly all amounts fit 64 bits, which are divided without a call.
        while rest > u128::from(u64::MAX) {
            digits[count] = (rest % 10_000) as i16;
            rest /= 10_000;
            count += 1;
        }
        let mut rest = rest as u64;
        while rest > 0 {
            digits[count] = (rest % 10_000) as i16;
            rest /= 10_000;
            count += 1;
        }
        let digits = &digits[..count];
        let trailing = digits.iter().take_while(|digit| **digit == 0).count();
        let written = &digits[trailing..];
        let weight = match written {
            [] => 0,
            _ => count as i16 - 1 - 3,
        };
        let sign = if self.0 < 0 { 0x4000 } else { 0 };
        let head = [written.len() as i16, weight, sign, self.places() as i16];
        let mut numeric = [0; NUMERIC_LENGTH_MAX];
        let parts = head.iter().chain(written.iter().rev());
        for (bytes, part) in numeric.chunks_exact_mut(2).zip(parts) {
            bytes.copy_from_slice(&part.to_be_bytes());
        }
        (numeric, 2 * (head.len() + written.len()))
    }

    /// Reads Postgres' binary `numeric`. `None` where it is no amount: not a number, too large or with more places.
    pub fn from_numeric(bytes: &[u8]) -> Option<Amount> {
        const POSITIVE: i16 = 0;
        const NEGATIVE: i16 = 0x4000;
        let mut parts = bytes
            .chunks_exact(2)
            .map(|part| i16::from_be_bytes([part[0], part[1]]));
        let (count, weight, sign) = (parts.next()?, parts.next()?, parts.next()?);
        let _places = parts.next()?;
        let mut value: i128 = 0;
        // Of the last digit that is held: twelve places are three digits.
        let mut weight_left = i32::from(weight) + 3;
        for _ in 0..count {
            let digit = i128::from(parts.next()?);
            if weight_left >= 0 {
                value = value.checked_mul(10_000)?.checked_add(digit)?;
            } else if digit != 0 {
                return None;
            }
            weight_left -= 1;
        }
        for _ in 0..=weight_left {
            value = value.checked_mul(10_000)?;
        }
        match sign {
            POSITIVE => Some(Amount(value)),
            NEGATIVE => Some(Amount(-value)),
            _ => None,
        }
    }

    /// How many decimal places it takes to write it.
    fn places(self) -> u32 {
        let value = self.0.unsigned_abs();
        // As above.
        let mut fraction = match u64::try_from(value) {
            Ok(value) => value % UNIT as u64,
            Err(_) => (value % UNIT as u128) as u64,
        };
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

impl std::ops::Neg for Amount {
    type Output = Amount;

    fn neg(self) -> Amount {
        Amount(-self.0)
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
            let (numeric, length) = Amount::parse(text).unwrap().numeric();
            numeric[..length]
                .chunks(2)
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

    #[test]
    fn numeric_is_read_as_it_is_written() {
        for text in [
            "0",
            "1",
            "-12.5",
            "0.00001",
            "10000",
            "-0.000000000001",
            "123456789.000000000001",
            "999999999999999.999999999999",
            "-700000000000000",
        ] {
            let amount = Amount::parse(text).unwrap();
            let (numeric, length) = amount.numeric();
            assert_eq!(Amount::from_numeric(&numeric[..length]), Some(amount));
            let (numeric, length) = (-amount).numeric();
            assert_eq!(Amount::from_numeric(&numeric[..length]), Some(-amount));
        }
        let read = |parts: &[i16]| {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
            Amount::from_numeric(&bytes)
        };
        // Zeros behind the places that count, and what is no amount.
        let small = Amount::parse("0.0001");
        assert_eq!(read(&[4, -1, 0, 16, 1, 0, 0, 0]), small);
        assert_eq!(read(&[1, -4, 0, 16, 1]), None);
        assert_eq!(read(&[0, 0, 0xC000u16 as i16, 0]), None);
        assert_eq!(read(&[1, 20, 0, 0, 1]), None);
        assert_eq!(read(&[2, 0, 0, 0, 1]), None);
        assert_eq!(read(&[]), None);
    }
}
