//! Episode after episode until the time is up, and the sum of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex as Turn;

use crate::Failure;
use crate::arguments::Arguments;
use crate::episode::{Ground, Outcome, Plan};
use crate::postgres::PostgresServer;
use crate::tally::{self, Tally};

/// How long a round over all grounds takes, and which part of it each ground has.
const ROUND: Duration = Duration::from_secs(180);
const SHARES: &[(Ground, f64)] = &[(Ground::Redis, 0.48), (Ground::Tokio, 0.30), (Ground::Sqlite, 0.22)];
/// What an episode takes besides, to begin and to come to rest.
const BESIDES: Duration = Duration::from_secs(7);
/// How many lines of what was done, and of what is broken, are printed; the whole goes into a file.
const LINES: usize = 60;

/// Tortures for so long. Whether everything held; or, of workers that are broken on purpose, whether that was noticed.
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
        for (ground, share) in SHARES {
            if !arguments.only.is_empty() && !arguments.only.contains(ground) {
                continue;
            }
            let directory = tempfile::Builder::new().prefix("squidmesh-torture-").tempdir_in(disk())?;
            let plan = Plan {
                ground: *ground,
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
            println!("{ground:?}, seed {}: {runs} runs, {steps} steps, {kills} kills in {took:.0} s", plan.seed);
            sum.merge(tally);
            if !broken.is_empty() {
                if let Some(defect) = &arguments.defect {
                    println!("  {}\nthe defect {defect} is found", broken[0]);
                    return Ok(true);
                }
                tell(&plan, &broken, &log.lines(), directory.keep())?;
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

/// A disk: `/tmp` is memory on many machines.
fn disk() -> PathBuf {
    let disk = PathBuf::from("/var/tmp");
    if disk.is_dir() { disk } else { std::env::temp_dir() }
}

fn tell(plan: &Plan<'_>, broken: &[String], log: &[String], directory: PathBuf) -> Result<(), Failure> {
    std::fs::write(directory.join("disturbances"), log.join("\n"))?;
    std::fs::write(directory.join("broken"), broken.join("\n"))?;
    println!("\n{:?} with seed {} breaks {} invariants:", plan.ground, plan.seed, broken.len());
    broken.iter().take(LINES).for_each(|line| println!("  {line}"));
    println!("the last that was done:");
    log.iter().skip(log.len().saturating_sub(LINES)).for_each(|line| println!("  {line}"));
    println!("all of it, the ledger and what the workers said are in {}", directory.display());
    let ground = format!("{:?}", plan.ground).to_lowercase();
    println!(
        "again, as far as real processes can be repeated: cargo xtask torture --seed {} --only {ground}",
        plan.seed
    );
    Ok(())
}
