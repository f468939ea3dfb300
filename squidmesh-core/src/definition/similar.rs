//! Finds the declared name that an unknown one was probably meant to be.

/// The maximum number of suggestions for one definition: each compares the unknown name with every declared one.
pub(crate) const MAX_SUGGESTIONS: usize = 20;

/// Returns the declared name most similar to an unknown one, if any is similar: names that differ only in case, or by
/// at most a third of their characters (optimal string alignment distance, see the crate `strsim`).
pub(crate) fn similar<'a>(unknown: &str, declared: impl Iterator<Item = &'a str>) -> Option<String> {
    let length = unknown.chars().count();
    let unknown = unknown.to_lowercase();
    declared
        .filter(|name| name.chars().count().abs_diff(length) <= allowed(length))
        .map(|name| (strsim::osa_distance(&unknown, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed(length))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

fn allowed(length: usize) -> usize {
    if length > LONGEST { 0 } else { length / 3 }
}

/// The length beyond which names are not compared, so that the work is bounded.
const LONGEST: usize = 200;

/// Returns the suggestion at the end of a message about an unknown name.
pub(super) fn meant(similar: &Option<String>) -> String {
    similar.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        let find = |unknown: &str| similar(unknown, ["reserve", "capture", "capture_fee"].into_iter());
        assert_eq!(find("captrue").as_deref(), Some("capture"));
        assert_eq!(find("Reserve").as_deref(), Some("reserve"));
        assert_eq!(find("capture_fees").as_deref(), Some("capture_fee"));
        assert_eq!(find("ship"), None);
        assert_eq!(find(""), None);
    }
}
