//! Runs other programs: each is printed before it starts, and judged by its exit code.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Outcome, While};
use crate::root::root;

/// Returns a command for the cargo that runs this task, in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command that shares the output of this process and has no input.
pub(crate) fn run(command: &mut Command) -> Outcome {
    run_shown_as(&show(command), command)
}

/// Like [`run`], but the command also ends with this process, however that ends.
pub(crate) fn run_bound(command: &Command) -> Outcome {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bound.current_dir(command.get_current_dir().unwrap_or(&root()));
    run_shown_as(&show(command), &mut bound)
}

fn run_shown_as(shown: &str, command: &mut Command) -> Outcome {
    println!("\n$ {shown}");
    let status = command.stdin(Stdio::null()).status().while_doing(format!("start `{shown}`"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{shown}` failed ({status})"))) }
}

/// Runs a command quietly and returns its output; its standard error is part of the failure.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().while_doing(format!("start `{shown}`"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("`{shown}` failed ({}):\n{}", output.status, said.trim_end())))
    }
}

/// Returns whether a command starts and succeeds; its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// Returns the path of a program on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// Installs a cargo subcommand if it is missing, and prints that. It is built without optimisation, which takes a
/// fraction of the time, since the tool computes little itself.
pub(crate) fn ensure_cargo_tool(subcommand: &str, version: &str, features: &[&str]) -> Outcome {
    if succeeds(&mut cargo([subcommand, "--version"])) {
        return Ok(());
    }
    let package = format!("cargo-{subcommand}");
    println!("{package} is missing: installing it with cargo (once; it takes some minutes)");
    run(cargo(["install", &package, "--locked", "--debug", "--version", version]).args(features)).map_err(|failure| {
        Failure::new(format!("{failure}\n{package} is needed: install it with `cargo install {package} --locked`"))
    })
}

fn show(command: &Command) -> String {
    let name = command.get_program().to_string_lossy();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(name, |mut line, argument| {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
        line
    })
}
