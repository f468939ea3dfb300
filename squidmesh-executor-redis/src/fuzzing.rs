//! What is made of Redis' answers, for fuzzing. No part of the API.

use redis::Value;

use crate::entry::{self, Content};

/// Reads an answer as each of the forms in which entries come, and says of each entry what it is: its intent, or a reason
/// why there is none.
pub fn read(answer: &Value) -> Vec<String> {
    let placed = entry::placed(answer.clone());
    let of_stream = entry::of_stream(0, answer.clone());
    let of_streams = entry::of_streams(answer.clone(), |name| Some(name.len()));
    placed
        .iter()
        .chain(&of_stream)
        .chain(&of_streams)
        .map(|entry| match entry.content() {
            Content::Intent(key) => key.to_string(),
            Content::Other(_) => "an occurrence".to_owned(),
            Content::Newer(version, _) => format!("of version {version}"),
            Content::Malformed(reason, _) => reason,
        })
        .collect()
}
