//! Entries of streams, as they come back: anything can be in them.

use redis::Value;
use squidmesh_core::{DeliveryPayload, IntentKey, InvalidPayload};

/// The longest payload that is looked at, in bytes.
pub(crate) const LONGEST: usize = 16 * 1024;

/// The field that has the payload.
const PAYLOAD: &[u8] = b"payload";

/// An entry in this process's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The place of its stream among those that are read.
    pub(crate) stream: usize,
    /// Its id in the stream.
    pub(crate) id: String,
    /// Names and values, in turn.
    fields: Vec<Vec<u8>>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An intent is due.
    Intent(IntentKey),
    /// Something that is due without being an intent: an occurrence that a host's own scheduler delivers.
    Other(Vec<u8>),
    /// Something of a newer version, which is this one: for another process.
    Newer(u64, Vec<u8>),
    /// Nothing that can ever be carried out: why, and what it is.
    Malformed(String, Vec<u8>),
}

impl Entry {
    /// What it says.
    pub(crate) fn content(&self) -> Content {
        let [name, payload] = &self.fields[..] else {
            return self.malformed(format!("it has {} fields and values, not one of each", self.fields.len()));
        };
        if name != PAYLOAD {
            return self.malformed("it has no field `payload`".to_owned());
        }
        match DeliveryPayload::parse(payload) {
            Ok(parsed) => parsed.intent().map_or_else(|| Content::Other(payload.clone()), Content::Intent),
            Err(InvalidPayload::UnknownVersion { version }) if version > DeliveryPayload::VERSION => {
                Content::Newer(version, payload.clone())
            }
            Err(error) => Content::Malformed(error.to_string(), payload.clone()),
        }
    }

    fn malformed(&self, reason: String) -> Content {
        let mut payload = self.fields.join(&b' ');
        payload.truncate(LONGEST + 1);
        Content::Malformed(reason, payload)
    }
}

/// The entries in an answer of `(place, id, fields)`. What has another form is left out: no script of ours answers so.
pub(crate) fn placed(answer: Value) -> Vec<Entry> {
    list(answer)
        .into_iter()
        .filter_map(|part| match <[Value; 3]>::try_from(list(part)) {
            Ok([Value::Int(place), id, fields]) => entry(usize::try_from(place).ok()?.checked_sub(1)?, id, fields),
            _ => None,
        })
        .collect()
}

/// The entries in an answer of `(id, fields)`, all of one stream.
pub(crate) fn of_stream(stream: usize, answer: Value) -> Vec<Entry> {
    list(answer)
        .into_iter()
        .filter_map(|part| match <[Value; 2]>::try_from(list(part)) {
            Ok([id, fields]) => entry(stream, id, fields),
            Err(_) => None,
        })
        .collect()
}

/// The entries in an answer of `XREADGROUP`, whose streams are told apart by name.
pub(crate) fn of_streams(answer: Value, place: impl Fn(&str) -> Option<usize>) -> Vec<Entry> {
    let streams: Vec<(Value, Value)> = match answer {
        Value::Map(streams) => streams,
        answer => list(answer)
            .into_iter()
            .filter_map(|part| <[Value; 2]>::try_from(list(part)).ok().map(|[name, entries]| (name, entries)))
            .collect(),
    };
    let place_of = |name: &Value| text(name).and_then(|name| place(&name));
    streams
        .into_iter()
        .filter_map(|(name, entries)| Some((place_of(&name)?, entries)))
        .flat_map(|(place, entries)| of_stream(place, entries))
        .collect()
}

/// The text of a value, if it is one.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// The parts of a list; nothing is an empty list.
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
        let payload = DeliveryPayload::from(&key).to_string();
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
            assert_eq!(placed(answer.clone()), []);
            assert_eq!(of_stream(0, answer.clone()), []);
            assert_eq!(of_streams(answer, |_| Some(0)), []);
        }
    }
}
