//! The command line.

use crate::defect;
use crate::episode::Backend;
use crate::failure::Failure;

/// The parsed arguments.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The approximate duration of it all.
    pub(crate) minutes: f64,
    pub(crate) seed: Option<u64>,
    /// The backends to run on; empty for all.
    pub(crate) only: Vec<Backend>,
    /// The defect of deliberately broken workers, to prove that it would be noticed.
    pub(crate) defect: Option<String>,
}

impl Arguments {
    pub(crate) fn parse(given: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        use lexopt::prelude::*;

        let mut arguments = Arguments { minutes: 3.0, seed: None, only: Vec::new(), defect: None };
        let mut parser = lexopt::Parser::from_args(given);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("minutes") => arguments.minutes = parser.value()?.parse()?,
                Long("seed") => arguments.seed = Some(parser.value()?.parse()?),
                Long("only") => arguments.only.push(match parser.value()?.string()?.as_str() {
                    "redis" => Backend::Redis,
                    "tokio" => Backend::Tokio,
                    "sqlite" => Backend::Sqlite,
                    other => return Err(format!("--only takes redis, tokio or sqlite, not {other:?}").into()),
                }),
                Long("defect") => {
                    let name = parser.value()?.string()?;
                    defect::named(&name).ok_or_else(|| format!("there is no defect {name:?}"))?;
                    arguments.defect = Some(name);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if !arguments.minutes.is_finite() || arguments.minutes <= 0.0 {
            return Err("--minutes takes a number above 0".into());
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
    fn what_is_asked_for_is_understood() {
        let arguments = parse(&["--minutes", "0.5", "--only", "sqlite", "--defect", "lost-update"]).unwrap();
        assert_eq!((arguments.minutes, arguments.seed), (0.5, None));
        assert_eq!(arguments.only, [Backend::Sqlite]);
    }

    #[test]
    fn a_defect_that_nobody_knows_is_refused() {
        assert!(parse(&["--defect", "rust"]).unwrap_err().to_string().contains("rust"));
    }
}
