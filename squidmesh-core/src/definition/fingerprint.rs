//! Identifies a version of a workflow by its content.
//!
//! Knows hashing and the written form of a hash; `json::canonical` decides the canonical form that is hashed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json::canonical;

/// The first 128 bits of the SHA-256 of a definition in canonical JSON, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// A placeholder until the fingerprint is known. It never leaves the parent module.
    pub(super) const UNKNOWN: Self = Self(0);

    /// Returns the fingerprint of a value. The order of keys does not matter.
    pub(super) fn of(value: &Value) -> Self {
        let digest = Sha256::digest(canonical(value));
        Self(digest.iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The error of a text that is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a fingerprint: expected 32 lower-case hexadecimal digits")]
pub struct InvalidFingerprint {
    text: String,
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(InvalidFingerprint { text: text.chars().take(100).collect() }),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_what_it_displays() {
        let fingerprint = Fingerprint::of(&Value::from("x"));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(serde_json::to_value(fingerprint).unwrap(), fingerprint.to_string());
        assert_eq!(Fingerprint(7).to_string(), "00000000000000000000000000000007");
    }

    #[test]
    fn anything_but_32_lower_case_digits_is_refused() {
        for text in ["", "7", &"A".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31)), &"é".repeat(16)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
