//! The reports: the table, the judgement by the goals, the comparison with an earlier run, the regressions, and the
//! plot.
//!
//! Knows figures by name. Does not know how they were measured.

mod compare;
mod goals;
mod plot;
mod regressions;
mod table;

pub(crate) use compare::compare;
pub(crate) use goals::goals;
pub(crate) use plot::plot;
pub(crate) use regressions::{Ratios, medians, ratios, regressions};
pub(crate) use table::{figures, round};

/// Formats a number with its significant digits.
fn shown(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.1 => 4,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let negative = whole.starts_with('-');
    let figures: Vec<char> = whole.trim_start_matches('-').chars().collect();
    let groups: Vec<String> = figures.rchunks(3).rev().map(|group| group.iter().collect()).collect();
    let sign = if negative { "-" } else { "" };
    rest.map_or(format!("{sign}{}", groups.join(",")), |rest| format!("{sign}{}.{rest}", groups.join(",")))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_are_shown_with_the_digits_that_matter() {
        assert_eq!(shown(1_234_567.8), "1,234,568");
        assert_eq!(shown(1_234.4), "1,234");
        assert_eq!(shown(12.34), "12.3");
        assert_eq!(shown(1.234), "1.23");
        assert_eq!(shown(0.012_34), "0.0123");
        assert_eq!(shown(0.0), "0");
        assert_eq!(shown(-1_500.0), "-1,500");
    }
}
