//! Measures Squidmesh beside the limit of the database that it works on.
//!
//! `cargo xtask bench` builds this program, starts the servers and runs it. `docs/cost-model.md` explains the
//! figures.

#![allow(clippy::print_stdout, reason = "a program that prints what it measures")]

mod arguments;
mod bare;
mod child;
mod database;
mod failure;
mod figure;
mod processes;
mod recorder;
mod report;
mod server;
mod workflows;
mod workload;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::figure::Figures;
use crate::report::Ratios;
use crate::server::Server;
use crate::workload::{CONCURRENCY, Plan, STARTERS};

/// The number of runs that a regression must show in.
const RUNS: usize = 3;
/// The recorded ratios.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ratios.json");

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["worker", url, concurrency] => child::work(url, concurrency.parse()?).await,
        _ => measure(Arguments::parse(given)?).await,
    }
}

fn earlier(path: &Path) -> Result<Figures, Failure> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

async fn measure(arguments: Arguments) -> Result<(), Failure> {
    let earlier: Option<Figures> = match &arguments.compare {
        Some(path) => Some(earlier(path).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    for path in arguments.json.iter().chain(&arguments.svg) {
        // A file that cannot be written is reported before minutes of measuring.
        let opened = fs::OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let url = std::env::var("SQUIDMESH_BENCH_POSTGRES")
        .map_err(|_| "SQUIDMESH_BENCH_POSTGRES names no server: use `cargo xtask bench`, which starts one")?;
    let server = Server::at(&url).await?;
    // On a disk: `/tmp` is memory on many machines.
    let disk = Path::new("/var/tmp");
    let directory = tempfile::tempdir_in(if disk.is_dir() { disk } else { Path::new(".") })?;
    let mut figures = Figures { settings: server.settings().await?, ..Figures::default() };
    let (processors, load) = (std::thread::available_parallelism()?.get(), processes::load());
    if load > processors as f64 / 4.0 {
        println!(
            "This machine is busy (load {load} on {processors} processors). What waits for others between every two statements \
             suffers more than what works in batches: the ratios will be wrong.\n"
        );
    }
    let redis = std::env::var("SQUIDMESH_BENCH_REDIS").ok();
    let plan = Plan {
        server,
        redis,
        directory: directory.path().to_owned(),
        quick: arguments.quick,
        only: arguments.only.clone(),
        profile: arguments.profile,
    };
    if let [unknown, ..] = &*plan.unknown() {
        return Err(format!("there is no workload `{unknown}`; there are {}", Plan::workloads().join(", ")).into());
    }
    for (setting, value) in [
        ("processors, shared by program and server", processors.to_string()),
        ("load of the machine before", load.to_string()),
        ("steps at once in a process", CONCURRENCY.to_string()),
        ("callers that start runs at once", STARTERS.to_string()),
        ("finished runs stored in `history`", plan.history().to_string()),
        ("age of the snapshot in `snapshot`", format!("{} s and 10,000 runs", plan.snapshot().as_secs())),
        ("SQLite", "journal_mode=wal, synchronous=full".to_owned()),
    ] {
        figures.settings.insert(setting.to_owned(), value);
    }

    let begun = Instant::now();
    println!("Measuring{} …", if arguments.quick { " quickly" } else { "" });
    let settings = figures.settings.clone();
    let (mut failed, mut ratios) = (Vec::new(), Vec::new());
    for number in 1..=if arguments.regressions || arguments.record { RUNS } else { 1 } {
        if number > 1 {
            println!("\nMeasuring again ({number} of {RUNS}) …");
            figures = Figures { settings: settings.clone(), ..Figures::default() };
        }
        failed.extend(plan.carry_out(&mut figures).await?);
        report::figures(&figures);
        ratios.push(report::ratios(&figures));
    }
    if let Some(earlier) = &earlier {
        report::compare(earlier, &figures);
    }
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    if let Some(path) = &arguments.svg {
        fs::write(path, report::plot(&figures))?;
    }
    println!("\nMeasured for {:.0} s", begun.elapsed().as_secs_f64());
    if arguments.record {
        fs::write(RECORDED, serde_json::to_vec_pretty(&report::medians(&ratios))?)?;
    }
    if arguments.regressions {
        let recorded: Ratios = serde_json::from_slice(&fs::read(RECORDED)?)?;
        let regressed = report::regressions(&recorded, &ratios);
        println!("\nWorse than recorded by more than a tenth, in {RUNS} runs of {RUNS}: {}", regressed.len());
        regressed.iter().for_each(|line| println!("  {line}"));
        failed.extend(regressed);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("some workloads failed:\n  {}", failed.join("\n  ")).into()) }
}
