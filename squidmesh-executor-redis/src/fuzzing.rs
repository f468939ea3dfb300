//! Decodes answers of Redis, for fuzzing. Not part of the API.

use redis::Value;

use crate::entry::{self, Content};

/// Decodes an answer as each of the forms in which entries are returned. Returns for each entry its intent, or why
/// there is none.
pub fn read(answer: &Value) -> Vec<String> {
    let numbered = entry::numbered(answer.clone());
    let of_stream = entry::of_stream(0, answer.clone());
    let of_streams = entry::of_streams(answer.clone(), |name| Some(name.len()));
    numbered
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
