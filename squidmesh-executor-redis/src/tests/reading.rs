//! Reads in order, bounded, never cancelled, and takes over from dead consumers.

use std::time::Instant;

use squidmesh_core::workflow::{CancelReason, Cancellation};

use super::*;

#[tokio::test]
async fn higher_classes_are_read_first_and_no_more_than_wanted() {
    let redis = Deployment::new();
    let routes = [Priority::Low, Priority::Normal, Priority::High].map(route);
    for (class, route) in routes.iter().enumerate() {
        let jobs: Vec<_> = (0..4).map(|run| job(class as u64 * 10 + run, route)).collect();
        redis.announce(&jobs).await;
    }
    let mut reader = redis.reader(&routes);
    assert_eq!(runs(&reader.read(6).await.unwrap()), [20, 21, 22, 23, 10, 11]);
    assert_eq!(runs(&reader.read(6).await.unwrap()), [12, 13, 0, 1, 2, 3]);
    assert_eq!(reader.read(6).await.unwrap(), []);
}

#[tokio::test]
async fn a_long_queue_does_not_keep_a_short_one_waiting() {
    let redis = Deployment::new();
    let (long, short) = (route_of("long", Priority::Normal), route_of("short", Priority::Normal));
    redis.announce(&(0..100).map(|run| job(run, &long)).collect::<Vec<_>>()).await;
    redis.announce(&[job(500, &short), job(501, &short)]).await;
    let mut reader = redis.reader(&[long, short]);
    let read = runs(&reader.read(4).await.unwrap());
    assert!(read.contains(&500) && read.contains(&501) && read.contains(&0) && read.contains(&1), "{read:?}");
    assert_eq!(reader.read(50).await.unwrap().len(), 50, "what the short one leaves is the long one's");
}

#[tokio::test]
async fn with_more_queues_than_room_they_take_turns() {
    let redis = Deployment::new();
    let routes: Vec<_> = ["a", "b", "c"].map(|queue| route_of(queue, Priority::Normal)).into();
    for (number, route) in routes.iter().enumerate() {
        redis.announce(&(0..5).map(|run| job(number as u64 * 10 + run, route)).collect::<Vec<_>>()).await;
    }
    let mut reader = redis.reader(&routes);
    let mut queues = Vec::new();
    for _ in 0..3 {
        queues.extend(runs(&reader.read(1).await.unwrap()).iter().map(|run| run / 10));
    }
    queues.sort_unstable();
    assert_eq!(queues, [0, 1, 2]);
}

#[tokio::test]
async fn a_read_that_waits_is_woken_by_an_announcement() {
    let (redis, route) = (Deployment::new(), route(Priority::Low));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    assert_eq!(reader.read(1).await.unwrap(), []);
    let never = Cancellation::new();
    let (entries, _) = tokio::join!(reader.wait(&never), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        redis.announce(&[job(7, &route)]).await;
    });
    assert_eq!(runs(&entries.unwrap()), [7]);
}

#[tokio::test]
async fn a_read_that_waits_ends_at_once_at_shutdown() {
    let (redis, route) = (Deployment::new(), route(Priority::Low));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    reader.read(1).await.unwrap();
    for head_start in [0, 50] {
        let (shutdown, begun) = (Cancellation::new(), Instant::now());
        let (entries, ()) = tokio::join!(reader.wait(&shutdown), async {
            tokio::time::sleep(Duration::from_millis(head_start)).await;
            shutdown.cancel(CancelReason::ShuttingDown);
        });
        assert_eq!(entries.unwrap(), []);
        assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_group_that_is_lost_while_a_read_waits_is_made_again() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    let mut reader = redis.reader(std::slice::from_ref(&route));
    reader.read(1).await.unwrap();
    redis.triggers.take();
    let stream = redis.stream(&route);
    let never = Cancellation::new();
    let (entries, _) = tokio::join!(reader.wait(&never), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        redis.send(&["DEL", &stream.name]).await
    });
    // Regardless of what this version of the server returns, the next read finds everything in order.
    if entries.is_err() {
        assert!(redis.triggers.take().may_be_lost, "a sweep is called for");
    }
    assert_eq!(reader.read(1).await.unwrap(), []);
    redis.announce(&[job(1, &route)]).await;
    assert_eq!(runs(&reader.wait(&Cancellation::new()).await.unwrap()), [1]);
}

#[tokio::test]
async fn what_a_dead_reader_had_is_taken_over() {
    let (redis, route) = (Deployment::new(), route(Priority::Normal));
    redis.announce(&[job(1, &route), job(2, &route)]).await;
    let mut dead = redis.reader(std::slice::from_ref(&route));
    assert_eq!(dead.read(10).await.unwrap().len(), 2);
    drop(dead);
    let mut heir = redis.reader(std::slice::from_ref(&route));
    assert_eq!(heir.take_over(10, Duration::from_secs(60)).await.unwrap().0, [], "it may still be at it");
    let entries = heir.take_over(10, Duration::ZERO).await.unwrap().0;
    assert_eq!(runs(&entries), [1, 2]);
    settle(&heir, &entries).await;
    assert_eq!(redis.counts(&route).await, [0, 0, 0]);
}
