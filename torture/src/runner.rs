//! Runs episode after episode until the time is up, and sums up their results.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex as Turn;

use crate::arguments::Arguments;
use crate::episode::{Backend, Outcome, Plan};
use crate::failure::Failure;
use crate::postgres::PostgresServer;
use crate::tally::{self, Tally};

/// The duration of a round over all backends, and the share of each backend in it.
const ROUND: Duration = Duration::from_secs(180);
const SHARES: &[(Backend, f64)] = &[(Backend::Redis, 0.48), (Backend::Tokio, 0.30), (Backend::Sqlite, 0.22)];
/// The additional time of an episode, to begin and to come to rest.
const BESIDES: Duration = Duration::from_secs(7);
/// The maximum number of lines to print of the log, and of the violations; everything is written to a file.
const LINES: usize = 60;

/// Runs episodes for the given time. Returns whether everything held; or, with a defect, whether it was noticed.
pub(crate) async fn torture(arguments: &Arguments) -> Result<bool, Failure> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("seed {seed}");
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let rounds = (time.as_secs_f64() / ROUND.as_secs_f64()).round().max(1.0);
    let round = time.div_f64(rounds);
    let server = Arc::new(Turn::new(PostgresServer::start().await?));
    let (begun, mut sum, mut number) = (Instant::now(), Tally::default(), 0);
    for of_round in 0..rounds as u64 {
        for (backend, share) in SHARES {
            if !arguments.only.is_empty() && !arguments.only.contains(backend) {
                continue;
            }
            let directory = tempfile::Builder::new().prefix("squidmesh-torture-").tempdir_in(disk())?;
            let plan = Plan {
                backend: *backend,
                seed: seed + of_round,
                time: round.mul_f64(*share).saturating_sub(BESIDES).max(Duration::from_secs(8)),
                defect: arguments.defect.as_deref(),
                directory: directory.path().to_owned(),
                number,
            };
            number += 1;
            let since = Instant::now();
            let Outcome { broken, tally, log } = plan.carry_out(&server).await?;
            let (runs, steps) = (tally.of(tally::RUNS), tally.of(tally::STEPS));
            let took = since.elapsed().as_secs_f64();
            let kills = tally.of(tally::KILLS);
            println!("{backend:?}, seed {}: {runs} runs, {steps} steps, {kills} kills in {took:.0} s", plan.seed);
            sum.merge(tally);
            if !broken.is_empty() {
                if let Some(defect) = &arguments.defect {
                    println!("  {}\nthe defect {defect} is found", broken[0]);
                    return Ok(true);
                }
                report(&plan, &broken, &log.lines(), directory.keep())?;
                println!("\n{sum}");
                return Ok(false);
            }
        }
    }
    let took = begun.elapsed();
    println!("\n{sum}");
    println!("{:>9.1}  steps completed in a second", sum.of(tally::STEPS) as f64 / took.as_secs_f64());
    if let Some(defect) = &arguments.defect {
        println!("the defect {defect} is not found");
        return Ok(false);
    }
    println!("tortured for {:.1} minutes with seed {seed}: no invariant broken", took.as_secs_f64() / 60.0);
    let short = sum.short_of(arguments.minutes);
    if arguments.only.is_empty() && arguments.minutes >= 3.0 && !short.is_empty() {
        println!("but too little was tried for this to mean enough:\n  {}", short.join("\n  "));
        return Ok(false);
    }
    Ok(true)
}

/// Returns a directory on a disk: `/tmp` is memory on many machines.
fn disk() -> PathBuf {
    let disk = PathBuf::from("/var/tmp");
    if disk.is_dir() { disk } else { std::env::temp_dir() }
}

fn report(plan: &Plan<'_>, broken: &[String], log: &[String], directory: PathBuf) -> Result<(), Failure> {
    std::fs::write(directory.join("disturbances"), log.join("\n"))?;
    std::fs::write(directory.join("broken"), broken.join("\n"))?;
    println!("\n{:?} with seed {} breaks {} invariants:", plan.backend, plan.seed, broken.len());
    broken.iter().take(LINES).for_each(|line| println!("  {line}"));
    println!("the last that was done:");
    log.iter().skip(log.len().saturating_sub(LINES)).for_each(|line| println!("  {line}"));
    println!("all of it, the ledger and what the workers said are in {}", directory.display());
    let backend = format!("{:?}", plan.backend).to_lowercase();
    println!(
        "again, as far as real processes can be repeated: cargo xtask torture --seed {} --only {backend}",
        plan.seed
    );
    Ok(())
}
