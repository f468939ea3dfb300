//! Processes newer than this version, which write entries that this version cannot interpret.

use std::time::Instant;

use redis::{Value as Answer, cmd};
use squidmesh_core::dispatch::DeliveryMessage;
use squidmesh_core::{ms, secs};
use squidmesh_tests::block_on;

use crate::errands::Errands;

const MANY: usize = 500;

/// An entry as Redis returns it: its id, and its fields and values in turn.
type Entry = (String, Vec<String>);

mod sqlite {
    use super::*;

    /// The newer process writes into streams of its own version, as every version does; and, unlike any real version,
    /// into those of this one, where its entries are read by workers that cannot execute them.
    #[test]
    fn entries_of_a_newer_process_reach_newer_processes() {
        block_on(async {
            let newer = DeliveryMessage::VERSION + 1;
            let errands = Errands::new().await;
            errands.announce(1).await;
            let stream = errands.look.streams().await.unwrap().remove(0);
            let theirs = stream.replacen(":1:", &format!(":{newer}:"), 1);
            let payload = |number: usize| format!(r#"{{"v":{newer},"kind":"dance","partner":{number}}}"#);
            let mut pipe = redis::pipe();
            for number in 0..MANY {
                let to = if number % 2 == 0 { &stream } else { &theirs };
                pipe.cmd("XADD").arg(to).arg("*").arg("payload").arg(payload(number)).ignore();
            }
            pipe.query_async::<()>(&mut errands.redis.connect().await.unwrap()).await.unwrap();
            errands
                .working(async {
                    let begun = Instant::now();
                    let ours = || async { length(&errands, &stream).await };
                    while ours().await > 0 {
                        assert!(begun.elapsed() < secs(20), "{} entries are kept", ours().await);
                        tokio::time::sleep(ms(10)).await;
                    }
                    errands.start(MANY).await;
                    errands.until_all_are_done().await;
                })
                .await;
            errands.each_was_begun_once(1 + MANY);
            let held = errands.look.held().await.unwrap();
            assert_eq!(
                (held.entries, held.pending, held.known, held.dead),
                (MANY, 0, 0, 0),
                "all of them in the newer stream"
            );

            // A newer process finds each entry, as it was written.
            let mut group = cmd("XGROUP");
            group.arg("CREATE").arg(&theirs).arg("workers").arg("0");
            errands.redis.ask::<()>(&group).await.unwrap();
            let mut read = cmd("XREADGROUP");
            read.arg("GROUP")
                .arg("workers")
                .arg("newer")
                .arg("COUNT")
                .arg(2 * MANY)
                .arg("STREAMS")
                .arg(&theirs)
                .arg(">");
            let found: Vec<(String, Vec<Entry>)> = errands.redis.ask(&read).await.unwrap();
            let mut found: Vec<String> = found[0].1.iter().map(|(_, fields)| fields[1].clone()).collect();
            let mut written: Vec<String> = (0..MANY).map(payload).collect();
            found.sort();
            written.sort();
            assert_eq!(found, written);
        });
    }
}

async fn length(errands: &Errands, stream: &str) -> usize {
    match errands.redis.ask(cmd("XLEN").arg(stream)).await.unwrap() {
        Answer::Int(length) => usize::try_from(length).unwrap(),
        other => panic!("{other:?}"),
    }
}
