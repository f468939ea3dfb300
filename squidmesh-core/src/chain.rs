//! An error with its causes, as one text.

use std::error::Error;
use std::fmt;

/// Shows errors in their `Debug` form as their text with its causes: `main` prints that form when it returns an error.
macro_rules! debug_as_text {
    ($($error:ty),+ $(,)?) => {
        $(impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::chain::fmt_with_causes(self, f)
            }
        })+
    };
}

pub(crate) use debug_as_text;

/// Writes an error and its causes, except causes that the text before them quotes. For the `Debug` form of start-up
/// errors, which `main` prints when it returns one.
///
/// # Errors
/// Returns the error of the formatter.
pub fn fmt_with_causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    f.write_str(&text)?;
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            write!(f, ": {next}")?;
            text = next;
        }
        source = cause.source();
    }
    Ok(())
}
