//! `cargo xtask simulate`: runs seeds, one after the other, and reports the first that breaks a rule.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to people")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use squidmesh_checker::rules;
use squidmesh_simulation::mutation::Mutation;
use squidmesh_simulation::world::{Outcome, Tally, is_planned, live, live_through};

/// The maximum number of seeds that a mutation may go through unnoticed.
const SEEDS_OF_MUTATION: u64 = 10_000;
/// The number of seeds run to their end to see whether a rule alone notices a mutation.
const SEEDS_ALONE: u64 = 400;
/// The number of lines of a trace to print; the whole trace is written to a file.
const LINES: usize = 120;
const YEAR: f64 = 365.25 * 86_400.0;

struct Options {
    seeds: u64,
    seed: Option<u64>,
    first: u64,
    jobs: u64,
    mutations: bool,
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let said = info.to_string();
        if !is_planned(&said) {
            eprintln!("{said}");
        }
    }));
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\nusage: simulate [--seeds N] [--first S] [--seed S] [--jobs J] [--mutations]");
            return ExitCode::FAILURE;
        }
    };
    let sound = match options.seed {
        Some(seed) => replay(seed),
        None if options.mutations => mutate(options.jobs),
        None => simulate(&options),
    };
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options { seeds: 2_000, seed: None, first: 0, jobs: 1, mutations: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Long("first") => options.first = parser.value()?.parse()?,
            Long("jobs") => options.jobs = parser.value()?.parse::<u64>()?.max(1),
            Long("mutations") => options.mutations = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Runs many seeds, and every fiftieth of them twice, to see that they repeat exactly.
fn simulate(options: &Options) -> bool {
    let begun = Instant::now();
    let next = AtomicU64::new(options.first);
    let end = options.first + options.seeds;
    let sum = Mutex::new((Tally::default(), Duration::ZERO));
    let broken = Mutex::new(None::<u64>);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || broken.lock().expect("no panic").is_some() {
            return;
        }
        let outcome = live(seed, None, false);
        let repeated = !seed.is_multiple_of(50) || live(seed, None, false).hash == outcome.hash;
        if !repeated {
            println!("seed {seed} does not repeat exactly");
        }
        if !outcome.violations.is_empty() || !repeated {
            let mut first = broken.lock().expect("no panic");
            *first = Some(first.map_or(seed, |found| found.min(seed)));
        }
        let mut sum = sum.lock().expect("no panic");
        sum.0.add(&outcome.tally);
        sum.1 += outcome.time;
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(work);
        }
        work();
    });
    if let Some(seed) = broken.into_inner().expect("no panic") {
        return replay(seed);
    }
    let (tally, time) = sum.into_inner().expect("no panic");
    println!(
        "{} seeds, {:.2} virtual years in {:.1} s; no rule broken",
        options.seeds,
        time.as_secs_f64() / YEAR,
        begun.elapsed().as_secs_f64()
    );
    println!("{tally:?}");
    true
}

/// Runs one seed and prints its trace if it breaks a rule.
fn replay(seed: u64) -> bool {
    let Outcome { violations, trace, hash, time, tally } = live(seed, None, true);
    if violations.is_empty() {
        println!("seed {seed}: no rule broken in {time:?}; trace {hash:016x}\n{tally:?}");
        return true;
    }
    let file = std::path::PathBuf::from("target/simulation").join(format!("seed-{seed}.txt"));
    let kept = std::fs::create_dir_all("target/simulation").and_then(|()| std::fs::write(&file, trace.join("\n")));
    for line in trace.iter().skip(trace.len().saturating_sub(LINES)) {
        println!("{line}");
    }
    println!("\nseed {seed} breaks rules (trace {hash:016x}):");
    violations.iter().for_each(|violation| println!("  {violation}"));
    match kept {
        Ok(()) => println!("the whole trace is in {}", file.display()),
        Err(error) => println!("the whole trace could not be kept: {error}"),
    }
    println!("again: cargo xtask simulate --seed {seed}");
    false
}

/// Proves that each mutation is noticed by its rule, and that each rule notices one that no other rule notices:
/// without that rule it would pass.
fn mutate(jobs: u64) -> bool {
    let uncaught = side_by_side(jobs, &Mutation::ALL, |mutation| is_caught(*mutation));
    let needless = side_by_side(jobs, &rules::ALL, |rule| is_needed(rule));
    println!("{} of {} mutations caught", Mutation::ALL.len() - uncaught, Mutation::ALL.len());
    println!("{} of {} rules find what no other rule finds", rules::ALL.len() - needless, rules::ALL.len());
    uncaught + needless == 0
}

/// Tries each item, several in parallel, and returns the number of those that do not pass.
fn side_by_side<T: Sync>(jobs: u64, items: &[T], passes: impl Fn(&T) -> bool + Sync) -> usize {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            failed.fetch_add(usize::from(!passes(item)), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner()
}

/// Runs seeds with a mutation until its rule has noticed it.
fn is_caught(mutation: Mutation) -> bool {
    let begun = Instant::now();
    let rule = mutation.noticed_by();
    let mut others = BTreeSet::new();
    let caught = (0..SEEDS_OF_MUTATION).find(|seed| {
        let rules = broken_in(&live(*seed, Some(mutation), false));
        let noticed = rules.contains(rule);
        others.extend(rules);
        noticed
    });
    let spent = begun.elapsed().as_secs_f64();
    match caught {
        Some(seed) => println!("{mutation:?}: caught after {} seeds ({spent:.1} s) by [{rule}]", seed + 1),
        None => {
            println!("{mutation:?}: NOT caught by [{rule}] in {SEEDS_OF_MUTATION} seeds ({spent:.1} s)");
            println!("  others that noticed: {others:?}");
        }
    }
    caught.is_some()
}

/// Returns whether a rule is the only one to notice one of its mutations for some seed.
fn is_needed(rule: &'static str) -> bool {
    let begun = Instant::now();
    let mut own = Mutation::ALL.into_iter().filter(|mutation| mutation.noticed_by() == rule);
    let alone = |mutation: &Mutation| {
        let only = |seed: &u64| broken_in(&live_through(*seed, *mutation)).into_iter().eq([rule]);
        (0..SEEDS_ALONE).any(|seed| only(&seed))
    };
    let found = own.find(alone);
    let spent = begun.elapsed().as_secs_f64();
    match found {
        Some(mutation) => println!("[{rule}] alone finds {mutation:?} ({spent:.1} s)"),
        None => {
            println!("[{rule}] alone finds NOTHING in {SEEDS_ALONE} seeds of each of its mutations ({spent:.1} s)")
        }
    }
    found.is_some()
}

fn broken_in(outcome: &Outcome) -> BTreeSet<&'static str> {
    outcome.violations.iter().map(|violation| violation.rule).collect()
}
