//! The program: command line in, summary and exit code out.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::host::{self, Ending, Journey};
use crate::introduction::introduction;
use crate::options::{Options, USAGE};
use crate::{crew, worker};

/// Runs the shop with these arguments (without the program's name).
///
/// The exit code is 0 only if every order is closed and everything reconciles; 2 for arguments that are not
/// understood; 130 if it was stopped by Ctrl-C.
pub async fn program(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut options = match Options::parse(arguments) {
        Ok(options) if options.help => return print(&mut io::stdout(), USAGE, 0),
        Ok(options) => options,
        Err(error) => return print(&mut io::stderr(), &format!("{error}\n\n{USAGE}"), 2),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    if let Some(gateway) = options.worker_of {
        let variable = |name| std::env::var(name).ok();
        (options.store, options.redis) = (variable(crew::STORE), variable(crew::REDIS));
        return match worker::work(&options, gateway).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => print(&mut io::stderr(), &with_causes(&error), 1),
        };
    }
    if !options.quiet {
        print(&mut io::stderr(), &introduction(&options), 0);
    }
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await; // the signal never comes
        }
    };
    match host::run(&options, ctrl_c).await {
        Ok(Ending::Done { journey, summary }) => {
            let code = if summary.violations().is_empty() { 0 } else { 1 };
            print(&mut io::stdout(), &format!("{}{summary}", this_time(&journey)), code)
        }
        Ok(Ending::Interrupted) => print(&mut io::stderr(), "stopped; start again to continue\n", 130),
        Err(error) => print(&mut io::stderr(), &with_causes(&error), 1),
    }
}

/// Formats what differs between executions: printed before the summary, which does not differ.
fn this_time(journey: &Journey) -> String {
    let Journey { intake, completed, failed, reasons } = journey;
    let reasons: String = reasons.iter().map(|sentence| format!("  why? {sentence}\n")).collect();
    format!(
        "this time: {} orders started, {} already known; {completed} steps done, {failed} attempts failed\n{reasons}",
        intake.started, intake.known
    )
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "  because: {error}");
        cause = error.source();
    }
    text
}

/// Writes a text and returns the exit code; a reader that is gone is not an error.
fn print(to: &mut impl io::Write, text: &str, code: u8) -> ExitCode {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(code)
}
