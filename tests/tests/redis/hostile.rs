//! Entries that no executor wrote: regardless of their content, the real work behind them is done, nothing loops, and an
//! operator sees them.
//!
//! `SQUIDMESH_HOSTILE_ENTRIES=100000 cargo xtask test -p squidmesh-tests hostile` is the long form.

use std::time::Instant;

use redis::cmd;
use squidmesh_core::ms;
use squidmesh_core::testing::SeededEntropy;
use squidmesh_executor_redis::{DeadLetter, RedisExecutorError};
use squidmesh_tests::block_on;

use crate::errands::Errands;
use crate::workers::chosen;

/// The number of entries written at once.
const BATCH: usize = 1_000;
/// The number of runs started beside each batch, and after the last.
const RUNS: usize = 2;

/// The fields of an entry, as Redis has them.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

mod sqlite {
    use super::*;

    #[test]
    fn hostile_entries_neither_stop_the_work_nor_stay() {
        block_on(async {
            let seed = uuid::Uuid::new_v4().as_u64_pair().0;
            eprintln!("seed {seed}");
            let rng = SeededEntropy::new(seed);
            let batches = usize::try_from(chosen("SQUIDMESH_HOSTILE_ENTRIES", 5_000)).unwrap() / BATCH;
            let errands = Errands::new().await;
            errands.announce(1).await;
            let stream = errands.look.streams().await.unwrap().remove(0);
            let real = first_entry(&errands, &stream).await;
            let begun = Instant::now();
            let mut of_the_future = 0;
            errands
                .working(async {
                    let mut connection = errands.redis.connect().await.unwrap();
                    for _ in 0..batches {
                        let mut pipe = redis::pipe();
                        for _ in 0..BATCH {
                            let (fields, is_of_the_future) = hostile(&rng, &real);
                            of_the_future += usize::from(is_of_the_future);
                            let add = pipe.cmd("XADD").arg(&stream).arg("*");
                            for (name, value) in fields {
                                add.arg(name).arg(value);
                            }
                            add.ignore();
                        }
                        pipe.query_async::<()>(&mut connection).await.unwrap();
                        errands.start(RUNS).await;
                    }
                    eprintln!("{} entries were written in {:?}", batches * BATCH, begun.elapsed());
                    errands.until_all_are_done().await;
                    eprintln!("the real work among them was done after {:?}", begun.elapsed());
                    errands.until(|held| held.known == 0 && held.entries == of_the_future && held.pending == 0).await;
                    eprintln!("the last of them was dealt with after {:?}", begun.elapsed());
                    // Those are left in the stream of the newer processes. The work after them is still done.
                    errands.start(RUNS).await;
                    errands.until_all_are_done().await;
                })
                .await;
            errands.each_was_begun_once(1 + RUNS * (batches + 1));
            let held = errands.look.held().await.unwrap();
            eprintln!("{of_the_future} were of a future version; Redis holds {held:?}");
            assert_eq!((held.entries, held.pending, held.known), (of_the_future, 0, 0));
            an_operator_can_deal_with_them(&errands, held.dead).await;
        });
    }

    #[test]
    fn occurrences_that_cannot_be_fired_become_dead_letters() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(1).await;
            let stream = errands.look.streams().await.unwrap().remove(0);
            let occurrences = [("elsewhere", "nightly"), ("errand", "weekly"), ("errand", "manual")];
            let payload = |(workflow, trigger)| {
                format!(
                    r#"{{"v":1,"kind":"cron","workflow":"{workflow}","trigger":"{trigger}","intended_at":"2026-01-01T00:00:00Z"}}"#
                )
            };
            for occurrence in occurrences {
                let mut add = cmd("XADD");
                add.arg(&stream).arg("*").arg("payload").arg(payload(occurrence));
                errands.redis.ask::<String>(&add).await.unwrap();
            }
            errands.working(errands.until(|held| held.dead == occurrences.len() && held.entries == 0)).await;
            let mut letters = errands.executor.dead_letters(None, 10).await.unwrap();
            letters.sort_by_key(|letter| letter.payload.clone());
            let mut payloads = occurrences.map(|occurrence| payload(occurrence).into_bytes());
            payloads.sort();
            assert_eq!(letters.iter().map(|letter| letter.payload.clone()).collect::<Vec<_>>(), payloads);
            assert!(letters.iter().any(|letter| letter.reason.contains("elsewhere")), "{letters:?}");
            errands.each_was_begun_once(1);
        });
    }

    #[test]
    fn keys_of_another_type_are_taken_out_of_the_way() {
        block_on(async {
            let errands = Errands::new().await;
            errands.announce(10).await;
            let keys = [errands.look.keys("stream").await.unwrap(), errands.look.keys("hash").await.unwrap()].concat();
            assert_eq!(keys.len(), 2, "{keys:?}");
            for key in &keys {
                errands.redis.ask::<()>(cmd("SET").arg(key).arg("mine")).await.unwrap();
            }
            errands.start(10).await;
            errands.finish(20).await;
        });
    }
}

/// Each is listed with its reason, returned (and set aside again, as it is still unreadable), and dropped.
async fn an_operator_can_deal_with_them(errands: &Errands, dead: usize) {
    let mut letters = Vec::new();
    loop {
        let after = letters.last().map(|letter: &DeadLetter| letter.id.clone());
        let page = errands.executor.dead_letters(after.as_deref(), 500).await.unwrap();
        if page.is_empty() {
            break;
        }
        letters.extend(page);
    }
    assert_eq!(letters.len(), dead);
    assert!(letters.iter().all(|letter| !letter.reason.is_empty() && !letter.stream.is_empty()));
    let whole = letters.iter().find(|letter| !letter.cut).expect("most of them are short");
    errands.executor.return_dead_letter(&whole.id).await.unwrap();
    let again = errands.executor.return_dead_letter(&whole.id).await;
    assert!(matches!(again, Err(RedisExecutorError::UnknownDeadLetter { .. })), "{again:?}");
    let newest = &letters[dead - 1].id;
    let last = errands.working(async {
        loop {
            let mut newer = errands.executor.dead_letters(Some(newest), 10).await.unwrap();
            if let Some(last) = newer.pop() {
                break last;
            }
            tokio::time::sleep(ms(10)).await;
        }
    });
    let last = last.await;
    assert_eq!((&last.payload, &last.stream), (&whole.payload, &whole.stream), "it was set aside once more");
    errands.executor.drop_dead_letter(&last.id).await.unwrap();
    assert_eq!(errands.executor.dead_letters(Some(newest), 10).await.unwrap(), []);
}

/// Returns the entry of a real announcement: hostile ones are made from it, so that they pass the first check.
async fn first_entry(errands: &Errands, stream: &str) -> Fields {
    let mut range = cmd("XRANGE");
    range.arg(stream).arg("-").arg("+").arg("COUNT").arg(1);
    let mut entries: Vec<(String, Vec<Vec<u8>>)> = errands.redis.ask(&range).await.unwrap();
    let parts = entries.remove(0).1;
    parts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// Returns one hostile entry, and whether a process of a future version might understand it.
fn hostile(rng: &SeededEntropy, real: &Fields) -> (Fields, bool) {
    let mut fields = real.clone();
    let which = usize::try_from(rng.below(fields.len() as u64)).unwrap();
    let run = uuid::Uuid::from_u64_pair(rng.next_u64(), rng.next_u64());
    let text = |text: String| text.into_bytes();
    let payload = match rng.below(16) {
        0 => noise(rng, 64),
        1 => Vec::new(),
        2 => text(format!(r#"{{"v":1,"kind":"step","run_id":"{run}","step":"#)),
        3 => text(r#"{"v":"1","kind":7,"run_id":[],"step":{}}"#.to_owned()),
        4 => text(format!(r#"{{"v":1,"kind":"dance","run_id":"{run}"}}"#)),
        5 => text(format!(r#"{{"v":1,"v":1,"kind":"step","kind":"step","run_id":"{run}","step":"default"}}"#)),
        6 => text(format!(r#"{{"v":1,"kind":"step","run_id":"{run}","step":"default"}}"#)),
        7 => text(format!(r#"{{"v":1,"kind":"compensation","run_id":"{run}"}}"#)),
        8 => text("[".repeat(200)),
        9 => vec![b'x'; if rng.below(500) == 0 { 1_000_000 } else { 20_000 / (1 + rng.below(100) as usize) }],
        10 => text(
            r#"{"v":1,"kind":"cron","workflow":"errand","trigger":"none","intended_at":"2026-01-01T00:00:00Z"}"#
                .to_owned(),
        ),
        11 => text(format!(r#"{{"v":1,"kind":"step","run_id":"{run}","step":"\u0000"}}"#)),
        12 if rng.below(20) == 0 => {
            let future = text(format!(r#"{{"v":2,"kind":"step","run_id":"{run}","step":"default"}}"#));
            set_payload(&mut fields, future);
            return (fields, true);
        }
        12 => {
            // A field is missing, or all of them are.
            fields.remove(which);
            if fields.is_empty() {
                fields.push((noise(rng, 8), noise(rng, 8)));
            }
            return (fields, false);
        }
        13 => {
            let count = 1 + rng.below(50);
            fields = (0..count).map(|_| (noise(rng, 8), noise(rng, 8))).collect();
            return (fields, false);
        }
        14 => {
            fields[which].1 = noise(rng, 32);
            return (fields, false);
        }
        _ => return (fields, false), // a duplicate of what was real once
    };
    set_payload(&mut fields, payload);
    (fields, false)
}

/// Replaces the field that carries the payload: the one with JSON in it.
fn set_payload(fields: &mut Fields, payload: Vec<u8>) {
    let field = fields.iter_mut().find(|(_, value)| value.starts_with(b"{")).expect("one field is JSON");
    field.1 = payload;
}

/// Returns at least one and at most `most` random bytes.
fn noise(rng: &SeededEntropy, most: u64) -> Vec<u8> {
    (0..1 + rng.below(most)).map(|_| rng.below(256) as u8).collect()
}
