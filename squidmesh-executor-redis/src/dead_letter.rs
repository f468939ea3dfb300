//! What was set aside because it cannot be carried out, for operators to look at.

use redis::Value;

use crate::RedisExecutorError;
use crate::entry::{list, text};
use crate::error::unreachable;
use crate::keys::{GROUP, Keys};
use crate::link::Link;
use crate::script::RETURN;

/// An entry that was set aside: malformed, too large, or delivered again and again without an end.
///
/// Setting it aside loses no work: an intent is in the store, and is announced from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id among the dead letters: the milliseconds of the time when it was set aside, and a counter.
    pub id: String,
    /// Why it was set aside.
    pub reason: String,
    /// What it says, as far as it was kept. It may be anything.
    pub payload: Vec<u8>,
    /// Whether the payload was longer than what is kept; then it cannot be returned.
    pub cut: bool,
    /// The stream in which it was.
    pub stream: String,
    /// Its id there.
    pub entry: String,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// The longest list.
const PAGE: usize = 1_000;

/// Up to `limit` dead letters, oldest first, after the one with this id.
pub(crate) async fn dead_letters(
    link: &Link,
    keys: &Keys,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetter>, RedisExecutorError> {
    let from = match after {
        Some(id) => format!("({}", checked(id)?),
        None => "-".to_owned(),
    };
    let mut command = redis::cmd("XRANGE");
    command.arg(keys.dead_letters()).arg(from).arg("+").arg("COUNT").arg(limit.clamp(1, PAGE));
    let answer = link.send(&command).await.map_err(unreachable("listing dead letters"))?;
    Ok(list(answer).into_iter().filter_map(dead_letter).collect())
}

/// Puts a dead letter back into its stream.
pub(crate) async fn return_dead_letter(link: &Link, keys: &Keys, id: &str) -> Result<(), RedisExecutorError> {
    let doing = unreachable("returning a dead letter");
    let unknown = || RedisExecutorError::UnknownDeadLetter { id: id.to_owned() };
    let id = checked(id)?;
    let mut command = redis::cmd("XRANGE");
    let answer = link.send(command.arg(keys.dead_letters()).arg(id).arg(id)).await.map_err(&doing)?;
    let found = list(answer).into_iter().find_map(dead_letter).ok_or_else(unknown)?;
    if found.cut {
        return Err(RedisExecutorError::CutDeadLetter { id: id.to_owned() });
    }
    let stream = keys.stream_named(&found.stream).ok_or_else(unknown)?;
    let call = RETURN.on([keys.dead_letters(), stream.name.to_string()]).arg(id).arg(GROUP).bytes(&found.payload);
    match link.call(&call).await.map_err(&doing)? {
        Value::Int(1) => Ok(()),
        _ => Err(unknown()),
    }
}

/// Forgets a dead letter.
pub(crate) async fn drop_dead_letter(link: &Link, keys: &Keys, id: &str) -> Result<(), RedisExecutorError> {
    let mut command = redis::cmd("XDEL");
    let answer = link.send(command.arg(keys.dead_letters()).arg(checked(id)?)).await;
    match answer.map_err(unreachable("dropping a dead letter"))? {
        Value::Int(1) => Ok(()),
        _ => Err(RedisExecutorError::UnknownDeadLetter { id: id.to_owned() }),
    }
}

/// An id that can be one: two numbers.
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
