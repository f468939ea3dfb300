//! Answers of Redis, as bytes of its protocol: whatever is in the entries of a stream, each is an intent or says why it is none.

use squidmesh_executor_redis::fuzzing::read;

pub fn run(data: &[u8]) {
    let Ok(answer) = redis::parse_redis_value(data) else { return };
    let first = read(&answer);
    assert!(first.iter().all(|said| !said.is_empty()), "a reason is given");
    assert_eq!(read(&answer), first);
}
