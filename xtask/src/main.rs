//! The project's chores, one file a task: `cargo xtask <command>`.
//!
//! Knows the workspace from outside only (files, `cargo`, servers); it must never depend on a crate of the workspace,
//! so that it runs while they do not compile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person at the terminal")]

mod bench;
mod ci;
mod debian;
mod deny;
mod failure;
mod fix;
mod fuzz;
mod guardian;
mod layering;
mod lint;
mod postgres;
mod process;
mod redis;
mod services;
mod simulate;
mod tally;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use crate::failure::{Failure, Outcome};

/// The function of a chore; it gets the arguments after the chore's name.
type Task = fn(&[String]) -> Outcome;

/// A chore: its name, what it takes, what it does in one line, and the function that does it.
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
        name: "lint",
        arguments: "",
        summary: "Check formatting, clippy, docs, tidiness, layering; change nothing",
        run: lint::run,
    },
    Chore {
        name: "deny",
        arguments: "[--advisories]",
        summary: "Check dependencies against deny.toml: bans, licences, sources",
        run: deny::run,
    },
    Chore {
        name: "bench",
        arguments: "[--quick] [--only WORKLOAD] [--profile] [--compare FILE] [--json FILE] [--svg FILE]",
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
        summary: "The whole gate: lint, deny, test, simulate, fuzz and torture",
        run: ci::run,
    },
    Chore { name: "fix", arguments: "", summary: "Format, and apply clippy's own suggestions", run: fix::run },
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

/// Refuses arguments that a chore does not know.
fn refuse_unknown(chore: &str, arguments: &[String], known: &[&str]) -> Outcome {
    match arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            Err(Failure::new(format!("`{chore}` does not know `{unknown}`; see `cargo xtask {chore} --help`")))
        }
    }
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
