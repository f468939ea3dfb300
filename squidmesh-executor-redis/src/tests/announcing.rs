//! Announces each job once, independent of what happens to the stream meanwhile.

use super::*;

#[tokio::test]
async fn what_is_announced_is_not_announced_again() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let jobs = [job(1, &route), job(2, &route), job(1, &route)];
    assert_eq!(redis.announce(&jobs).await, Announced { added: 2, refused: 0 });
    assert_eq!(redis.announce(&jobs).await, Announced { added: 0, refused: 0 });
    let entries = redis.reader(std::slice::from_ref(&route)).read(10).await.unwrap();
    assert_eq!(runs(&entries), [1, 2]);
    assert_eq!(redis.announce(&jobs).await.added, 0, "a consumer holds it");
    assert_eq!(redis.counts(&route).await, [2, 2, 2]);
}

#[tokio::test]
async fn what_is_settled_leaves_nothing_behind_and_may_be_announced_anew() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    redis.announce(&[job(1, &route), job(2, &route)]).await;
    let entries = reader.read(10).await.unwrap();
    settle(&reader, &entries[..1]).await;
    assert_eq!(redis.counts(&route).await, [1, 1, 1]);
    settle(&reader, &entries).await;
    assert_eq!(redis.counts(&route).await, [0, 0, 0]);
    assert_eq!(redis.announce(&[job(1, &route)]).await.added, 1);
    assert_eq!(runs(&reader.read(10).await.unwrap()), [1]);
}

#[tokio::test]
async fn what_was_announced_anew_is_not_forgotten_with_its_old_entry() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    redis.announce(&[job(1, &route), job(2, &route)]).await;
    let old = reader.read(10).await.unwrap();
    let stream = redis.stream(&route);
    redis.send(&["XDEL", &stream.name, &old[0].id]).await;
    assert_eq!(redis.announce(&[job(1, &route)]).await.added, 1);
    settle(&reader, &old[..1]).await;
    assert_eq!(redis.announce(&[job(1, &route)]).await.added, 0, "the index still knows the new entry");
}

#[tokio::test]
async fn entries_that_were_trimmed_are_announced_again() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    let jobs: Vec<_> = (0..20).map(|run| job(run, &route)).collect();
    redis.announce(&jobs).await;
    reader.read(10).await.unwrap();
    redis.send(&["XTRIM", &redis.stream(&route).name, "MAXLEN", "0"]).await;
    assert_eq!(redis.announce(&jobs).await, Announced { added: 20, refused: 0 });
    let entries = reader.read(100).await.unwrap();
    assert_eq!(runs(&entries).len(), 20);
    settle(&reader, &entries).await;
    // A pending entry that was trimmed is released when it is reclaimed.
    assert_eq!(reader.take_over(100, Duration::ZERO).await.unwrap().0, []);
    assert_eq!(redis.counts(&route).await, [0, 0, 0]);
}

#[tokio::test]
async fn entries_of_a_consumer_that_was_deleted_are_announced_again() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    redis.announce(&[job(1, &route), job(2, &route)]).await;
    reader.read(1).await.unwrap();
    redis.send(&["XGROUP", "DELCONSUMER", &redis.stream(&route).name, GROUP, &reader.consumer]).await;
    assert_eq!(redis.announce(&[job(1, &route), job(2, &route)]).await.added, 1);
    let entries = redis.reader(std::slice::from_ref(&route)).read(10).await.unwrap();
    assert_eq!(runs(&entries), [2, 1]);
    settle(&reader, &entries).await;
    assert_eq!(redis.counts(&route).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_group_that_was_lost_begins_at_the_first_entry() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    redis.announce(&[job(1, &route), job(2, &route)]).await;
    reader.read(1).await.unwrap();
    redis.send(&["XGROUP", "DESTROY", &redis.stream(&route).name, GROUP]).await;
    assert_eq!(runs(&reader.read(10).await.unwrap()), [1, 2]);
    redis.send(&["XGROUP", "DESTROY", &redis.stream(&route).name, GROUP]).await;
    assert_eq!(redis.announce(&[job(1, &route), job(2, &route)]).await.added, 0);
    assert_eq!(runs(&reader.read(10).await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn keys_that_are_lost_or_of_another_type_are_made_anew() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    let stream = redis.stream(&route);
    for key in [stream.name.to_string(), stream.index()] {
        for command in [vec!["DEL", &key], vec!["SET", &key, "x"], vec!["SADD", &key, "x"]] {
            redis.send(&["DEL", &key]).await;
            redis.send(&command).await;
            redis.announce(&[job(1, &route)]).await;
            let entries = reader.read(10).await.unwrap();
            assert!(!entries.is_empty(), "{command:?}");
            settle(&reader, &entries).await;
        }
    }
    redis.send(&["DEL", &stream.name]).await;
    redis.send(&["LPUSH", &stream.name, "x"]).await;
    assert_eq!(reader.read(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_stream_whose_ids_are_used_up_begins_anew() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    redis.announce(&[job(1, &route)]).await;
    let last = format!("{0}-{0}", u64::MAX);
    redis.send(&["XADD", &redis.stream(&route).name, &last, "payload", "x"]).await;
    assert_eq!(redis.announce(&[job(2, &route)]).await.added, 1);
    assert_eq!(redis.announce(&[job(1, &route)]).await.added, 1);
    assert_eq!(runs(&reader.read(10).await.unwrap()), [2, 1]);
}

#[tokio::test]
async fn a_stream_that_nobody_uses_does_not_stay_for_ever() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    redis.announce(&[job(1, &route)]).await;
    for key in [redis.stream(&route).name.to_string(), redis.stream(&route).index()] {
        assert!(matches!(redis.send(&["PTTL", &key]).await, Value::Int(left) if left > 0));
    }
}
