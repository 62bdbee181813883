//! Numbers as people read them.

/// A count with its thousands apart.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// An exact amount with its point in a fixed place: two decimals or more, and blanks up to the five that TUNE's may have.
pub fn money(amount: &str) -> String {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    let decimals = format!("{:0<2}", decimals.trim_end_matches('0'));
    format!("{whole}.{decimals:<5}")
}

/// A difference, with its sign.
pub fn signed(number: &str) -> String {
    if number.starts_with('-') {
        number.to_owned()
    } else {
        format!("+{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let counts = [1, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(counts, ["1", "999", "1,000", "1,234,567"]);
        let amounts = ["5", "5.5", "-0.25000", "1.23456"].map(money);
        assert_eq!(amounts, ["5.00   ", "5.50   ", "-0.25   ", "1.23456"]);
        assert_eq!(["5", "-5"].map(signed), ["+5", "-5"]);
    }
}
