//! Answers of Redis, as bytes of its protocol: each entry of a stream, with any content, is an intent or has a
//! reason why it is none.

use squidmesh_executor_redis::fuzzing::read;

pub fn run(data: &[u8]) {
    let Ok(answer) = redis::parse_redis_value(data) else { return };
    let first = read(&answer);
    assert!(first.iter().all(|said| !said.is_empty()), "a reason is given");
    assert_eq!(read(&answer), first);
}
