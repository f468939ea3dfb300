//! Dead letters: entries that were set aside because they cannot be executed, for operators to inspect.

use redis::Value;

use crate::RedisExecutorError;
use crate::connection::Connection;
use crate::entry::{list, text};
use crate::error::unreachable;
use crate::keys::{GROUP, Keys};
use crate::script::RETURN;

/// An entry that was set aside because it is malformed, too large, or was delivered too often.
///
/// Setting it aside loses no work: an intent is in the store, and is announced from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The id of the dead letter: the time at which it was set aside, in milliseconds, and a counter.
    pub id: String,
    /// The reason for setting it aside.
    pub reason: String,
    /// The content of the entry, as far as it was kept. It may be any bytes.
    pub payload: Vec<u8>,
    /// Whether the payload was too long to be kept whole; such a dead letter cannot be returned.
    pub cut: bool,
    /// The stream that contained the entry.
    pub stream: String,
    /// The id of the entry in that stream.
    pub entry: String,
    /// The number of times it was delivered.
    pub deliveries: u64,
}

/// The maximum length of a list.
const MAX_PAGE: usize = 1_000;

/// Returns up to `limit` dead letters, oldest first, after the one with the given id.
pub(crate) async fn dead_letters(
    connection: &Connection,
    keys: &Keys,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetter>, RedisExecutorError> {
    let from = match after {
        Some(id) => format!("({}", checked(id)?),
        None => "-".to_owned(),
    };
    let mut command = redis::cmd("XRANGE");
    command.arg(keys.dead_letters()).arg(from).arg("+").arg("COUNT").arg(limit.clamp(1, MAX_PAGE));
    let answer = connection.send(&command).await.map_err(unreachable("listing dead letters"))?;
    Ok(list(answer).into_iter().filter_map(dead_letter).collect())
}

/// Returns a dead letter to its stream.
pub(crate) async fn return_dead_letter(
    connection: &Connection,
    keys: &Keys,
    id: &str,
) -> Result<(), RedisExecutorError> {
    let doing = unreachable("returning a dead letter");
    let unknown = || RedisExecutorError::UnknownDeadLetter { id: id.to_owned() };
    let id = checked(id)?;
    let mut command = redis::cmd("XRANGE");
    let answer = connection.send(command.arg(keys.dead_letters()).arg(id).arg(id)).await.map_err(&doing)?;
    let found = list(answer).into_iter().find_map(dead_letter).ok_or_else(unknown)?;
    if found.cut {
        return Err(RedisExecutorError::CutDeadLetter { id: id.to_owned() });
    }
    let stream = keys.stream_named(&found.stream).ok_or_else(unknown)?;
    let used = keys.used_beside(&stream);
    let call = RETURN.on([keys.dead_letters(), stream.name.to_string(), used]).arg(id).arg(GROUP).bytes(&found.payload);
    match connection.call(&call).await.map_err(&doing)? {
        Value::Int(1) => Ok(()),
        _ => Err(unknown()),
    }
}

/// Deletes a dead letter.
pub(crate) async fn drop_dead_letter(connection: &Connection, keys: &Keys, id: &str) -> Result<(), RedisExecutorError> {
    let mut command = redis::cmd("XDEL");
    let answer = connection.send(command.arg(keys.dead_letters()).arg(checked(id)?)).await;
    match answer.map_err(unreachable("dropping a dead letter"))? {
        Value::Int(1) => Ok(()),
        _ => Err(RedisExecutorError::UnknownDeadLetter { id: id.to_owned() }),
    }
}

/// Checks that an id has the form of one: two numbers.
fn checked(id: &str) -> Result<&str, RedisExecutorError> {
    let is_number = |part: &str| part.parse::<u64>().is_ok();
    match id.split_once('-') {
        Some((time, counter)) if is_number(time) && is_number(counter) => Ok(id),
        _ => Err(RedisExecutorError::UnknownDeadLetter { id: id.chars().take(64).collect() }),
    }
}

fn dead_letter(entry: Value) -> Option<DeadLetter> {
    let [id, fields] = <[Value; 2]>::try_from(list(entry)).ok()?;
    let fields = list(fields);
    let field = |name: &str| {
        let pairs = fields.chunks_exact(2);
        pairs.filter_map(|pair| pair.first().zip(pair.get(1))).find(|(key, _)| text(key).as_deref() == Some(name))
    };
    let text_of = |name: &str| field(name).and_then(|(_, value)| text(value)).unwrap_or_default();
    let payload = match field("payload") {
        Some((_, Value::BulkString(bytes))) => bytes.clone(),
        _ => Vec::new(),
    };
    Some(DeadLetter {
        id: text(&id)?,
        reason: text_of("reason"),
        payload,
        cut: text_of("cut") != "0",
        stream: text_of("stream"),
        entry: text_of("entry"),
        deliveries: text_of("deliveries").parse().unwrap_or(0),
    })
}
