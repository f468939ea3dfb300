//! Running other programs: shown to the reader before they start, and judged by their exit code.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// The cargo that runs this chore, in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root());
    command
}

/// Runs a command with the reader's own output; it reads nothing.
pub(crate) fn run(command: &mut Command) -> Outcome {
    run_shown_as(&show(command), command)
}

/// Like [`run`], but the command also ends when this process does, whatever ends it.
pub(crate) fn run_bound(command: &Command) -> Outcome {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bound.current_dir(command.get_current_dir().unwrap_or(&workspace::root()));
    run_shown_as(&show(command), &mut bound)
}

fn run_shown_as(shown: &str, command: &mut Command) -> Outcome {
    println!("\n$ {shown}");
    let status = command.stdin(Stdio::null()).status().while_doing(format!("start `{shown}`"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{shown}` failed ({status})"))) }
}

/// Runs a command quietly and returns what it printed; what it said on standard error goes into the failure.
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

/// Whether a command can be started and succeeds; what it prints is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// The path of a program that is on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// Installs a cargo subcommand when it is missing, and says so. Built without optimization: that takes a part of the
/// time, and the tool has little to compute itself.
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
