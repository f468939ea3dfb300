//! The project's tasks, one file each: `cargo xtask <command>`.
//!
//! Knows the workspace only from outside (files, `cargo`, servers). It must never depend on a crate of the
//! workspace, so that it runs while they do not compile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person at the terminal")]

mod arguments;
mod bench;
mod caging;
mod cases;
mod ci;
mod debian;
mod deny;
mod failure;
mod fix;
mod floors;
mod fuzz;
mod guardian;
mod host_features;
mod imports;
mod layering;
mod lint;
mod package;
mod postgres;
mod process;
mod prose;
mod redis;
mod root;
mod services;
mod simulate;
mod source;
mod tally;
mod test;
mod tidy;
mod torture;
mod vocabulary;
mod workspace;

use std::process::ExitCode;

use crate::arguments::Task;
use crate::failure::{Failure, Outcome};

/// A task: its name, its arguments, a one-line summary, and its function.
struct Chore {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: Task,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "test",
        arguments: "[filter or nextest option ...]",
        summary: "Run the tests against private throw-away servers, installing what is missing",
        run: test::run,
    },
    Chore {
        name: "host-features",
        arguments: "",
        summary: "Run the core's tests with the features of serde_json that other crates of a host may turn on",
        run: host_features::run,
    },
    Chore {
        name: "lint",
        arguments: "",
        summary: "Check formatting, clippy, docs, tidiness, prose, layering; change nothing",
        run: lint::run,
    },
    Chore {
        name: "deny",
        arguments: "[--advisories]",
        summary: "Check dependencies against deny.toml: bans, licences, sources",
        run: deny::run,
    },
    Chore {
        name: "package",
        arguments: "[--verify]",
        summary: "Make the packages of the library crates and check what they hold; build them too",
        run: package::run,
    },
    Chore {
        name: "bench",
        arguments: "[--quick] [--only WORKLOAD] [--profile] [--regressions] [--record] [--compare FILE] [--json FILE] [--svg FILE]",
        summary: "Measure Squidmesh beside the limits of private servers; see docs/cost-model.md",
        run: bench::run,
    },
    Chore {
        name: "simulate",
        arguments: "[--release] [--seeds N] [--first S] [--seed S] [--jobs J] [--mutations]",
        summary: "Live seeds of simulated deployments and check their histories; replay one; prove that defects are found",
        run: simulate::run,
    },
    Chore {
        name: "fuzz",
        arguments: "[--release] [--target T] [--runs N] [--seconds S] [--jobs J] [--seed S]",
        summary: "Fuzz what takes input from outside, with coverage; a minute each target if nothing is said",
        run: fuzz::run,
    },
    Chore {
        name: "torture",
        arguments: "[--minutes M] [--seed S] [--only redis|tokio|sqlite] [--defect NAME]",
        summary: "Kill, stop and cut real processes and servers under load, and check what they leave",
        run: torture::run,
    },
    Chore {
        name: "ci",
        arguments: "",
        summary: "The whole gate: lint, deny, package, test, host-features, simulate, fuzz and torture",
        run: ci::run,
    },
    Chore {
        name: "fix",
        arguments: "",
        summary: "Format, apply clippy's own suggestions, and list the tests' cases",
        run: fix::run,
    },
    Chore {
        name: "services",
        arguments: "",
        summary: "Start the private servers, print their URLs, and keep them until Ctrl-C",
        run: services::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Outcome {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::new(format!("which command?\n\n{}", help())));
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", help());
        return Ok(());
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        return Err(Failure::new(format!("there is no command `{name}`\n\n{}", help())));
    };
    if rest.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--help" || argument == "-h") {
        println!("cargo xtask {} {}\n\n{}.", chore.name, chore.arguments, chore.summary);
        return Ok(());
    }
    (chore.run)(rest)
}

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask <command>\n\nCommands:\n");
    for chore in CHORES {
        let call = format!("{} {}", chore.name, chore.arguments);
        text.push_str(&format!("  {call:<38}{}\n", chore.summary));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_refused_with_the_list() {
        let said = dispatch(&["tset".to_owned()]).unwrap_err().to_string();
        assert!(said.contains("`tset`"), "{said}");
        for chore in CHORES {
            assert!(said.contains(chore.name), "{said}");
        }
    }

    #[test]
    fn an_unknown_argument_is_refused_by_name() {
        let said = dispatch(&["lint".to_owned(), "--quick".to_owned()]).unwrap_err().to_string();
        assert!(said.contains("--quick"), "{said}");
    }
}
