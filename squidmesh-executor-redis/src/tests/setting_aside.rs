//! Entries that cannot be executed are set aside, listed, returned and dropped, and never block others.

use super::*;
use crate::reader::MAX_DELIVERIES;
use crate::{RedisExecutor, RedisExecutorError};

/// Returns an executor with the names of a deployment.
fn executor(redis: &Deployment) -> RedisExecutor {
    let dead = redis.keys.dead_letters();
    let prefix = dead.trim_start_matches('{').split('}').next().unwrap();
    RedisExecutor::new(server()).unwrap().prefix(prefix).unwrap()
}

async fn add(redis: &Deployment, route: &Route, fields: &[&[u8]]) {
    let mut command = redis::cmd("XADD");
    command.arg(&*redis.stream(route).name).arg("*").arg(fields);
    redis.connection.send(&command).await.unwrap();
    // As a blocking read would have recorded it.
    redis.send(&["SADD", &redis.keys.used(), &redis.stream(route).name]).await;
}

#[tokio::test]
async fn a_huge_entry_is_set_aside_before_it_is_sent_to_a_worker() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    reader.read(1).await.unwrap();
    add(&redis, &route, &[b"payload", &vec![b'x'; 1 << 20]]).await;
    let many: Vec<&[u8]> = std::iter::repeat_n(&b"f"[..], 1_000).collect();
    add(&redis, &route, &many).await;
    redis.announce(&[job(1, &route)]).await;
    assert_eq!(runs(&reader.read(10).await.unwrap()), [1], "what comes behind is read");
    let letters = executor(&redis).dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].cut && letters[0].payload.len() <= 16 * 1024, "{:?}", letters[0].payload.len());
    assert!(letters[0].reason.contains("1048583 bytes"), "{}", letters[0].reason);
    let returned = executor(&redis).return_dead_letter(&letters[0].id).await;
    assert!(matches!(returned, Err(RedisExecutorError::CutDeadLetter { .. })), "{returned:?}");
}

#[tokio::test]
async fn a_dead_letter_is_listed_returned_and_dropped() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    reader.read(1).await.unwrap();
    for payload in ["one", "two", "three"] {
        add(&redis, &route, &[b"payload", payload.as_bytes()]).await;
    }
    for entry in reader.read(10).await.unwrap() {
        let Content::Malformed(reason, payload) = entry.content() else { panic!("{entry:?}") };
        reader.settler.park(&entry, &reason, &payload).await.unwrap();
    }
    let [length, pending, _] = redis.counts(&route).await;
    assert_eq!([length, pending], [0, 0]);

    let operator = executor(&redis);
    let letters = operator.dead_letters(None, 2).await.unwrap();
    let payloads: Vec<_> = letters.iter().map(|letter| letter.payload.as_slice()).collect();
    assert_eq!(payloads, [&b"one"[..], b"two"]);
    assert_eq!((letters[0].deliveries, letters[0].cut), (1, false));
    assert_eq!(letters[0].stream, &*redis.stream(&route).name);
    assert!(letters[0].reason.contains("not acceptable JSON"), "{}", letters[0].reason);
    assert_eq!(operator.dead_letters(Some(&letters[1].id), 10).await.unwrap()[0].payload, b"three");

    operator.return_dead_letter(&letters[0].id).await.unwrap();
    operator.drop_dead_letter(&letters[1].id).await.unwrap();
    assert_eq!(operator.dead_letters(None, 10).await.unwrap().len(), 1);
    assert_eq!(reader.read(10).await.unwrap().len(), 1, "it is back in its stream");
    for id in [letters[0].id.as_str(), letters[1].id.as_str(), "none", "1-x", ""] {
        for answer in [operator.return_dead_letter(id).await, operator.drop_dead_letter(id).await] {
            assert!(matches!(answer, Err(RedisExecutorError::UnknownDeadLetter { .. })), "{id:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_delivered_again_and_again_is_set_aside_in_the_end() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    redis.announce(&[job(1, &route)]).await;
    let mut reader = redis.reader(std::slice::from_ref(&route));
    assert_eq!(reader.read(10).await.unwrap().len(), 1);
    for delivery in 2..=MAX_DELIVERIES {
        assert_eq!(reader.take_over(10, Duration::ZERO).await.unwrap().0.len(), 1, "delivery {delivery}");
    }
    assert_eq!(reader.take_over(10, Duration::ZERO).await.unwrap().0, []);
    let letters = executor(&redis).dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].deliveries, MAX_DELIVERIES as u64 + 1);
    assert_eq!(redis.announce(&[job(1, &route)]).await.added, 1, "the work itself is announced anew");
}

#[tokio::test]
async fn dead_letters_survive_a_key_of_any_type() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    reader.read(1).await.unwrap();
    let dead = redis.keys.dead_letters();
    redis.send(&["SET", &dead, "x"]).await;
    add(&redis, &route, &[b"payload", &vec![b'x'; 100_000]]).await;
    assert_eq!(reader.read(10).await.unwrap(), []);
    assert_eq!(executor(&redis).dead_letters(None, 10).await.unwrap().len(), 1);
    redis.send(&["XADD", &dead, &format!("{0}-{0}", u64::MAX), "reason", "x"]).await;
    add(&redis, &route, &[b"payload", &vec![b'x'; 100_000]]).await;
    assert_eq!(reader.read(10).await.unwrap(), []);
    assert_eq!(executor(&redis).dead_letters(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unreachable_server_is_reported_and_not_awaited() {
    let executor = RedisExecutor::new("redis://user:secret@127.0.0.1:1").unwrap();
    let refused = executor.dead_letters(None, 1).await.unwrap_err();
    assert!(matches!(refused, RedisExecutorError::Unreachable { .. }), "{refused:?}");
    assert!(!format!("{refused:?} {refused} {executor:?}").contains("secret"));
}
