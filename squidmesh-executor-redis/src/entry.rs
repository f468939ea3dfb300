//! Decodes stream entries, which may contain anything.

use redis::Value;
use squidmesh_core::dispatch::{DeliveryMessage, IntentKey, InvalidMessage};

/// The longest payload that is read, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024;

/// The field that contains the payload.
const PAYLOAD: &[u8] = b"payload";

/// An entry that this process has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The position of its stream among those that are read.
    pub(crate) stream: usize,
    /// Its id in the stream.
    pub(crate) id: String,
    /// Names and values, alternating.
    fields: Vec<Vec<u8>>,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A due intent.
    Intent(IntentKey),
    /// A due item that is not an intent: an occurrence that a host's own scheduler delivers.
    Other(Vec<u8>),
    /// An entry of a newer format, with its version: for another process.
    Newer(u64, Vec<u8>),
    /// An entry that can never be executed: the reason, and the payload.
    Malformed(String, Vec<u8>),
}

impl Entry {
    /// Decodes the content.
    pub(crate) fn content(&self) -> Content {
        let [name, payload] = &self.fields[..] else {
            return self.malformed(format!("it has {} fields and values, not one of each", self.fields.len()));
        };
        if name != PAYLOAD {
            return self.malformed("it has no field `payload`".to_owned());
        }
        match DeliveryMessage::parse(payload) {
            Ok(parsed) => parsed.intent().map_or_else(|| Content::Other(payload.clone()), Content::Intent),
            Err(InvalidMessage::UnknownVersion { version }) if version > DeliveryMessage::VERSION => {
                Content::Newer(version, payload.clone())
            }
            Err(error) => Content::Malformed(error.to_string(), payload.clone()),
        }
    }

    fn malformed(&self, reason: String) -> Content {
        let mut payload = self.fields.join(&b' ');
        payload.truncate(MAX_PAYLOAD + 1);
        Content::Malformed(reason, payload)
    }
}

/// Decodes an answer of `(index, id, fields)`. Other forms are skipped: none of the scripts returns them.
pub(crate) fn numbered(answer: Value) -> Vec<Entry> {
    list(answer)
        .into_iter()
        .filter_map(|part| match <[Value; 3]>::try_from(list(part)) {
            Ok([Value::Int(index), id, fields]) => entry(usize::try_from(index).ok()?.checked_sub(1)?, id, fields),
            _ => None,
        })
        .collect()
}

/// Decodes an answer of `(id, fields)`, all of one stream.
pub(crate) fn of_stream(stream: usize, answer: Value) -> Vec<Entry> {
    list(answer)
        .into_iter()
        .filter_map(|part| match <[Value; 2]>::try_from(list(part)) {
            Ok([id, fields]) => entry(stream, id, fields),
            Err(_) => None,
        })
        .collect()
}

/// Decodes an answer of `XREADGROUP`, which names its streams.
pub(crate) fn of_streams(answer: Value, index: impl Fn(&str) -> Option<usize>) -> Vec<Entry> {
    let streams: Vec<(Value, Value)> = match answer {
        Value::Map(streams) => streams,
        answer => list(answer)
            .into_iter()
            .filter_map(|part| <[Value; 2]>::try_from(list(part)).ok().map(|[name, entries]| (name, entries)))
            .collect(),
    };
    let index_of = |name: &Value| text(name).and_then(|name| index(&name));
    streams
        .into_iter()
        .filter_map(|(name, entries)| Some((index_of(&name)?, entries)))
        .flat_map(|(index, entries)| of_stream(index, entries))
        .collect()
}

/// Returns the text of a value, if it is one.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// Returns the parts of a list; any other value is an empty list.
pub(crate) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(parts) => parts,
        _ => Vec::new(),
    }
}

fn entry(stream: usize, id: Value, fields: Value) -> Option<Entry> {
    let fields = list(fields).into_iter().map(|part| match part {
        Value::BulkString(bytes) => bytes,
        _ => Vec::new(),
    });
    Some(Entry { stream, id: text(&id)?, fields: fields.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use squidmesh_core::testing::sample;

    fn with(fields: &[&[u8]]) -> Entry {
        Entry { stream: 0, id: "1-1".to_owned(), fields: fields.iter().map(|part| part.to_vec()).collect() }
    }

    #[test]
    fn an_entry_says_which_intent_is_due() {
        let key = IntentKey::step(sample::run_id(1), sample::step_name("first"));
        let payload = DeliveryMessage::from(&key).to_string();
        assert_eq!(with(&[b"payload", payload.as_bytes()]).content(), Content::Intent(key));
    }

    #[test]
    fn an_entry_of_a_newer_version_is_left_for_a_newer_process() {
        let payload = br#"{"v":9,"kind":"step"}"#;
        assert_eq!(with(&[b"payload", payload]).content(), Content::Newer(9, payload.to_vec()));
    }

    #[test]
    fn anything_else_is_malformed_and_says_why() {
        let malformed: [&[&[u8]]; 8] = [
            &[],
            &[b"payload"],
            &[b"other", b"{}"],
            &[b"payload", b"{}", b"more", b"x"],
            &[b"payload", b"no json"],
            &[b"payload", b"\xff\xfe"],
            &[b"payload", br#"{"v":1,"kind":"step","run_id":7}"#],
            &[b"payload", br#"{"v":0,"kind":"step"}"#],
        ];
        for fields in malformed {
            let content = with(fields).content();
            assert!(matches!(&content, Content::Malformed(reason, _) if !reason.is_empty()), "{content:?}");
        }
    }

    #[test]
    fn an_answer_of_another_form_has_no_entries() {
        for answer in [Value::Nil, Value::Int(1), Value::Array(vec![Value::Nil, Value::Array(vec![Value::Okay])])] {
            assert_eq!(numbered(answer.clone()), []);
            assert_eq!(of_stream(0, answer.clone()), []);
            assert_eq!(of_streams(answer, |_| Some(0)), []);
        }
    }
}
