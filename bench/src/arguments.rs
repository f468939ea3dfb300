//! The command line.

use std::path::PathBuf;

use crate::failure::Failure;

/// The parsed arguments.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Whether to run fewer rounds, and only the workloads that form the ratios.
    pub(crate) quick: bool,
    /// The names, or parts of names, of the workloads to run.
    pub(crate) only: Vec<String>,
    /// Whether the statements that took the server longest are printed, after each round of most workloads.
    pub(crate) profile: bool,
    /// An earlier result to compare with.
    pub(crate) compare: Option<PathBuf>,
    /// Whether to measure several times, and compare the ratios with the recorded ones.
    pub(crate) regressions: bool,
    /// Whether to measure several times, and record the ratios.
    pub(crate) record: bool,
    /// The file for the figures, as JSON.
    pub(crate) json: Option<PathBuf>,
    /// The file for the plot.
    pub(crate) svg: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(given: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        use lexopt::prelude::*;

        let mut arguments = Arguments::default();
        let mut parser = lexopt::Parser::from_args(given);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => arguments.quick = true,
                Long("profile") => arguments.profile = true,
                Long("only") => arguments.only.push(parser.value()?.string()?),
                Long("regressions") => arguments.regressions = true,
                Long("record") => arguments.record = true,
                Long("compare") => arguments.compare = Some(parser.value()?.into()),
                Long("json") => arguments.json = Some(parser.value()?.into()),
                Long("svg") => arguments.svg = Some(parser.value()?.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<Arguments, Failure> {
        Arguments::parse(given.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn workloads_may_be_named_several_times() {
        let arguments = parse(&["--quick", "--only", "fan", "--only=alone", "--json", "a.json"]).unwrap();
        assert!(arguments.quick);
        assert_eq!(arguments.only, ["fan", "alone"]);
        assert_eq!(arguments.json, Some(PathBuf::from("a.json")));
    }

    #[test]
    fn an_unknown_argument_is_refused() {
        assert!(parse(&["--fast"]).unwrap_err().to_string().contains("--fast"));
    }
}
