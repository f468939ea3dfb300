//! What can be wrong with a cron expression.

/// The maximum length of an expression in bytes; longer than any useful one.
pub(super) const LONGEST: usize = 1_000;

/// The reason why a cron expression is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionProblem {
    /// The expression is empty.
    #[error("it is empty; write five fields: minute, hour, day of month, month, day of week, as in `0 3 * * 1-5`")]
    Empty,
    /// The expression is longer than 1,000 bytes.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// The expression does not have five fields.
    #[error("it has {found} fields; write five: minute, hour, day of month, month, day of week, as in `0 3 * * 1-5`")]
    Fields {
        /// The number of fields.
        found: usize,
    },
    /// A field is not valid.
    #[error(
        "{item:?} is no {field}: write a value from {least} to {most}, a range such as {least}-{most}, a step such as */2, or a list of these"
    )]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The part of the field that is not valid, cut to 40 characters.
        item: String,
        /// The minimum value of the field.
        least: u8,
        /// The maximum value of the field.
        most: u8,
    },
    /// No date matches the expression.
    #[error("it never fires: there is no such date")]
    Never,
}
