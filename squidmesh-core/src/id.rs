//! The id of a run: a UUID (version 7 by convention, so that ids sort by time).
//!
//! Knows nothing of clocks or randomness: fresh ids are passed in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a run. The runtime creates UUIDs of version 7, which sort by creation time; any UUID is accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Creates the id with this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the UUID of this id.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({})", self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidRunId { text: text.chars().take(InvalidRunId::SHOWN).collect() })
    }
}

/// A text that is not a run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a run id: expected a UUID such as 0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10")]
pub struct InvalidRunId {
    text: String,
}

impl InvalidRunId {
    /// The number of characters of a rejected text kept for the message.
    const SHOWN: usize = 100;

    /// Returns the rejected text, cut to 100 characters.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_back_what_it_displays() {
        let id = RunId::from_uuid(Uuid::from_u128(0x0190_c5a2_7b3e_7cc1_8a55_6f0e_5d3b_2a10));
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }

    #[test]
    fn a_malformed_run_id_is_refused_and_cut_in_the_message() {
        let error = "x".repeat(5_000).parse::<RunId>().unwrap_err();
        assert_eq!(error.text().len(), 100);
        assert!(error.to_string().contains("is not a run id"));
    }
}
