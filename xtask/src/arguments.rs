//! What tasks have in common: a function of arguments, some of which are unknown.
//!
//! Knows no options: most tasks have none, or pass theirs on to a program. `fuzz` reads its own with `lexopt`.

use crate::failure::{Failure, Outcome};

/// The function of a task; it receives the arguments after the task's name.
pub(crate) type Task = fn(&[String]) -> Outcome;

/// Returns an error for arguments that a task does not know.
pub(crate) fn refuse_unknown(chore: &str, arguments: &[String], known: &[&str]) -> Outcome {
    match arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            Err(Failure::new(format!("`{chore}` does not know `{unknown}`; see `cargo xtask {chore} --help`")))
        }
    }
}
