//! Runs every input of the corpus through its target, and some thousand random variations.

use std::path::{Path, PathBuf};

use crate::TARGETS;

/// The number of variations of each input in the corpus.
const OFFSPRING: u64 = 40;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Returns pseudo-random numbers that are the same every time.
fn scrambled(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn changed(input: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for round in 0..=seed % 4 {
        let chance = scrambled(seed * 8 + round);
        let place = usize::try_from(chance >> 16).unwrap() % bytes.len().max(1);
        match chance % 4 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), chance.to_le_bytes()[1]),
            _ if bytes.is_empty() => bytes.push(0),
            2 => bytes[place] ^= 1 << (chance >> 8 & 7),
            _ => bytes[place] = chance.to_le_bytes()[1],
        }
    }
    bytes
}

#[test]
fn every_input_of_the_corpus_is_answered() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 3, "{name} has a corpus");
        for (path, input) in inputs {
            let answered = std::panic::catch_unwind(|| crate::run(target, &input));
            assert!(answered.is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn what_chance_makes_of_the_corpus_is_answered() {
    for (name, target) in TARGETS {
        for (number, (path, input)) in (0..).zip(corpus(name)) {
            for seed in 0..OFFSPRING {
                let input = changed(&input, number * OFFSPRING + seed);
                let answered = std::panic::catch_unwind(|| crate::run(target, &input));
                assert!(answered.is_ok(), "{name}, {}: {:?}", path.display(), String::from_utf8_lossy(&input));
            }
        }
    }
}
