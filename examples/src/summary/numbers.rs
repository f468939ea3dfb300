//! Numbers for people.

/// Formats a number as `1,234,567`.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats cents as `1,234.56`.
pub(super) fn money(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, grouped(cents.abs() / 100), cents.abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let texts = [0, 12, 123, 1_234, 123_456, -1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "-1,234,567"]);
    }

    #[test]
    fn cents_are_never_lost() {
        assert_eq!([5, 100, 123_456_709, -5].map(money), ["0.05", "1.00", "1,234,567.09", "-0.05"]);
    }
}
