//! Durations in definitions: whole milliseconds, and short constructors for them.
//!
//! Knows precision and units; must never know what a duration is for.

use std::time::Duration;

/// Returns a duration of whole milliseconds.
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Returns a duration of whole seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns a duration of whole minutes (the longest possible duration if it does not fit).
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// Returns a duration of whole hours (the longest possible duration if it does not fit).
pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3_600))
}

/// The longest duration that a definition may contain: a hundred years. Anything longer is a mistake, and would
/// not fit into a database timestamp.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// Rounds a duration up to whole milliseconds, so that a non-zero duration stays non-zero and storing it changes
/// nothing.
pub(crate) fn whole_ms(duration: Duration) -> Duration {
    let nanos_beyond = duration.subsec_nanos() % 1_000_000;
    if nanos_beyond == 0 {
        duration
    } else {
        duration.saturating_add(Duration::from_nanos(u64::from(1_000_000 - nanos_beyond)))
    }
}

/// Serialises a duration as its number of milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Number;

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// A tagged type buffers its content until it knows its tag. If a crate of the host enables
    /// `serde_json/arbitrary_precision`, a buffered integer is no longer a `u64`; it is a [`Number`] in any case.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let number = Number::deserialize(deserializer)?;
        number.as_u64().map(Duration::from_millis).ok_or_else(|| D::Error::custom("not a number of milliseconds"))
    }
}

/// Serialises a duration that may be absent as its number of milliseconds.
pub(crate) mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::millis::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|millis| millis.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_rounded_up_to_whole_milliseconds() {
        assert_eq!(whole_ms(Duration::ZERO), Duration::ZERO);
        assert_eq!(whole_ms(Duration::from_nanos(1)), ms(1));
        assert_eq!(whole_ms(Duration::from_micros(1_001)), ms(2));
        assert_eq!(whole_ms(secs(3)), secs(3));
        assert_eq!(whole_ms(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_duration_that_does_not_fit_is_the_longest() {
        assert_eq!(hours(u64::MAX), secs(u64::MAX));
        assert_eq!(minutes(2), secs(120));
    }
}
