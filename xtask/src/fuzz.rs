//! `cargo xtask fuzz`: builds the fuzz targets with coverage for libFuzzer, and runs them.
//!
//! Needs no nightly compiler and no cargo-fuzz: libFuzzer is a crate, and needs only options of the stable
//! compiler. Only the workspace's own crates are rebuilt for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::failure::{Failure, Outcome, While};
use crate::process::{self, cargo};
use crate::workspace;

/// How long the gate fuzzes each target, in seconds, two targets at a time.
const GATE_SECONDS: u64 = 14;
/// The maximum length of an input; longer ones exercise nothing new.
const LONGEST: u64 = 1_024;

struct Options {
    target: Option<String>,
    runs: Option<u64>,
    seconds: Option<u64>,
    jobs: usize,
    seed: u64,
    /// Whether everything else is optimised as well: the build takes minutes, which pays for millions of runs.
    release: bool,
}

/// Fuzzes every target, or one, for a number of runs or seconds each; a minute each by default.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    fuzz(&options(arguments).map_err(|error| Failure::new(format!("{error}; see `cargo xtask fuzz --help`")))?)
}

/// Runs in the gate: every target for a short time.
pub(crate) fn gate(_: &[String]) -> Outcome {
    fuzz(&Options { target: None, runs: None, seconds: Some(GATE_SECONDS), jobs: 2, seed: 1, release: false })
}

fn options(arguments: &[String]) -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options { target: None, runs: None, seconds: None, jobs: 2, seed: 0, release: false };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("release") => options.release = true,
            Long("target") => options.target = Some(parser.value()?.string()?),
            Long("runs") => options.runs = Some(parser.value()?.parse()?),
            Long("seconds") => options.seconds = Some(parser.value()?.parse()?),
            Long("jobs") => options.jobs = parser.value()?.parse::<usize>()?.max(1),
            Long("seed") => options.seed = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn fuzz(options: &Options) -> Outcome {
    let all = targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| options.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    if chosen.is_empty() {
        return Err(Failure::new(format!("there is no such target; there are {}", all.join(", "))));
    }
    let begun = Instant::now();
    let programs = build(&chosen, options.release)?;
    println!("built in {:.0} s", begun.elapsed().as_secs_f64());
    let mut failures = Vec::new();
    for together in programs.chunks(options.jobs) {
        let running: Result<Vec<_>, Failure> =
            together.iter().map(|program| Running::start(program, options)).collect();
        failures.extend(running?.into_iter().filter_map(|running| running.end().err()));
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// Returns the names of the targets: each has a file.
fn targets() -> Result<Vec<String>, Failure> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&directory).while_doing(format!("list {}", directory.display()))?;
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds programs with the profile and features of the tests, so that their existing dependencies are reused.
fn build(targets: &[&String], release: bool) -> Result<Vec<PathBuf>, Failure> {
    let profile = if release { "release" } else { "test" };
    let mut command = cargo(["build", "--locked", "--profile", profile, "--workspace", "--all-features"]);
    for target in targets {
        command.args(["--bin", target]);
    }
    command.env("RUSTC_WORKSPACE_WRAPPER", workspace::root().join("fuzz/instrument.sh"));
    if release {
        // Assertions stay on, as without optimisation.
        command
            .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
            .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    }
    process::run(&mut command)?;
    let directory = workspace::target_directory()?.join(if release { "release" } else { "debug" });
    Ok(targets.iter().map(|target| directory.join(target)).collect())
}

/// A running target.
struct Running {
    name: String,
    child: std::process::Child,
    log: PathBuf,
    /// The current input, while the target runs.
    input: PathBuf,
    findings: PathBuf,
}

impl Running {
    fn start(program: &Path, options: &Options) -> Result<Running, Failure> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let work = workspace::target_directory()?.join("fuzz").join(&name);
        let (found, findings) = (work.join("found"), work.join("findings"));
        let (log, input) = (work.join("log"), work.join("input"));
        for directory in [&found, &findings] {
            fs::create_dir_all(directory).while_doing(format!("make {}", directory.display()))?;
        }
        let output = fs::File::create(&log).while_doing(format!("write {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).arg(&found);
        command.arg(workspace::root().join("fuzz/corpus").join(&name));
        command.arg(format!("-artifact_prefix={}/", findings.display()));
        command.arg(format!("-dict={}", workspace::root().join("fuzz/json.dict").display()));
        command.args([format!("-max_len={LONGEST}"), format!("-seed={}", options.seed)]);
        command.args([
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-malloc_limit_mb=256",
            "-print_final_stats=1",
            "-verbosity=1",
        ]);
        match (options.runs, options.seconds) {
            (None, None) => command.arg("-max_total_time=60"),
            (runs, seconds) => command
                .args(runs.map(|runs| format!("-runs={runs}")))
                .args(seconds.map(|seconds| format!("-max_total_time={seconds}"))),
        };
        command.env("SQUIDMESH_FUZZ_INPUT", &input);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().while_doing(format!("start {}", program.display()))?;
        Ok(Running { name, child, log, input, findings })
    }

    fn end(mut self) -> Outcome {
        let begun = Instant::now();
        let status = self.child.wait().while_doing(format!("wait for {}", self.name))?;
        let log = String::from_utf8_lossy(&fs::read(&self.log).while_doing("read what was said")?).into_owned();
        let stat = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.map_or("?", |line| line.trim_start_matches(':').trim()).to_owned()
        };
        if status.success() {
            let runs = stat("number_of_executed_units");
            let speed = stat("average_exec_per_sec");
            println!("{}: {runs} runs, {speed} a second, {} new inputs; no defect", self.name, stat("new_units_added"));
            return Ok(());
        }
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(40);
        lines.iter().skip(last).for_each(|line| println!("{line}"));
        if status.code().is_none() {
            // Killed by a signal, for example after a stack overflow: libFuzzer could not record the input.
            fs::copy(&self.input, self.findings.join("killed")).while_doing("keep the input")?;
        }
        Err(Failure::new(format!(
            "{} has found something ({status}, {:.0} s): the input is in {}; put it into fuzz/corpus/{} once it is mended",
            self.name,
            begun.elapsed().as_secs_f64(),
            self.findings.display(),
            self.name
        )))
    }
}
