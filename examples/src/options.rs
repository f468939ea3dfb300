//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::scenario::Scenario;

/// The usage text.
pub const USAGE: &str = "\
Takes orders through the durable workflows of a shop, and proves at the end that nothing was lost or done twice.
Stop it whenever you like, kill it even, and start it again.

  --scenario S    plain (the default), or what brings out more of the shop: approvals, saga, customs, settlement; or all
  --store URL     sqlite://FILE (default sqlite://DIR/shop.db), or postgres://USER:PASSWORD@HOST/DATABASE (a program
                  built with the feature postgres)
  --orders FILE   orders, one JSON object a line (default the scenario's, written to DIR/orders.jsonl)
  --files DIR     where the gateway's journal and the defaults of the above are kept (default target/checkout, with
                  the name of the scenario after it if it is not plain)
  --redis URL     redis://USER:PASSWORD@HOST/NUMBER: deliver through Redis (a program built with the feature redis)
  --workers N     how many worker processes do the work (default none: this process does it)
  --concurrency N how many steps run at once in each process that works (default 32)
  --lease-ms N    how long a dead process keeps its steps (default 30000)
  --quiet         no introduction and no progress bar
  --help          this text

RUST_LOG=squidmesh=debug shows what happens.
";

/// The number of plain orders in the sample: enough for everything to happen, and some seconds in a debug build.
pub const SAMPLE: usize = 250;

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The scenario to run.
    pub scenario: Scenario,
    /// The database of the shop and its workflows; a file for the scenario if not given.
    pub store: Option<String>,
    /// The file of orders; the scenario's sample if not given.
    pub orders: Option<PathBuf>,
    /// The directory for files that are not the shop's; one for the scenario if not given.
    pub files: Option<PathBuf>,
    /// The Redis that announces work; the workers poll the database if not given.
    pub redis: Option<String>,
    /// The number of worker processes. Without any, this process works.
    pub workers: usize,
    /// The number of concurrent steps in each process that works.
    pub concurrency: usize,
    /// The duration of leases; the runtime's default if not given.
    pub lease: Option<Duration>,
    /// Whether introduction and progress bar are left out.
    pub quiet: bool,
    /// The gateway's address, if this process is a worker of a shop. A shop passes it to its workers; people never
    /// do.
    pub worker_of: Option<SocketAddr>,
    /// Whether only the usage is printed.
    pub help: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            scenario: Scenario::Plain,
            store: None,
            orders: None,
            files: None,
            redis: None,
            workers: 0,
            concurrency: 32,
            lease: None,
            quiet: false,
            worker_of: None,
            help: false,
        }
    }
}

impl Options {
    /// Returns the URL of the database.
    pub fn store_url(&self) -> String {
        let own = || format!("sqlite://{}", self.files().join("shop.db").display());
        self.store.clone().unwrap_or_else(own)
    }

    /// Returns the directory for files that are not the shop's. Each scenario, and so each shop, has its own.
    pub fn files(&self) -> PathBuf {
        let own = || match self.scenario {
            Scenario::Plain => PathBuf::from("target/checkout"),
            other => PathBuf::from(format!("target/checkout-{}", other.name())),
        };
        self.files.clone().unwrap_or_else(own)
    }

    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// Returns an error that names the argument that is not understood.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut options = Options::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("scenario") => options.scenario = parser.value()?.parse()?,
                Long("store") => options.store = Some(parser.value()?.string()?),
                Long("orders") => options.orders = Some(parser.value()?.into()),
                Long("files") => options.files = Some(parser.value()?.into()),
                Long("redis") => options.redis = Some(parser.value()?.string()?),
                Long("concurrency") => options.concurrency = parser.value()?.parse()?,
                Long("worker-of") => options.worker_of = Some(parser.value()?.parse()?),
                Long("workers") => options.workers = parser.value()?.parse()?,
                Long("lease-ms") => options.lease = Some(Duration::from_millis(parser.value()?.parse()?)),
                Long("quiet") => options.quiet = true,
                Long("help") | Short('h') => options.help = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }

    /// Returns the arguments that a shop passes to its workers: its own, and its gateway's address. URLs are passed
    /// another way, since every user of the machine can read arguments.
    pub fn for_workers(&self, gateway: SocketAddr) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--worker-of".into(), gateway.to_string().into()];
        arguments.extend(["--concurrency".into(), self.concurrency.to_string().into()]);
        if let Some(lease) = self.lease {
            arguments.extend(["--lease-ms".into(), lease.as_millis().to_string().into()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, lexopt::Error> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_option_is_understood() {
        let said = parse(
            "--scenario saga --store sqlite://a.db --redis redis://b --orders o --files=f --workers 3 --concurrency 7 \
             --lease-ms 90 --quiet --worker-of 127.0.0.1:80 -h",
        )
        .unwrap();
        let expected = Options {
            scenario: Scenario::Saga,
            store: Some("sqlite://a.db".to_owned()),
            orders: Some("o".into()),
            files: Some("f".into()),
            redis: Some("redis://b".to_owned()),
            workers: 3,
            concurrency: 7,
            lease: Some(Duration::from_millis(90)),
            quiet: true,
            worker_of: Some(([127, 0, 0, 1], 80).into()),
            help: true,
        };
        assert_eq!(said, expected);
        assert_eq!(parse("").unwrap(), Options::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parse("--stoer x").unwrap_err().to_string().contains("--stoer"));
        assert!(parse("--scenario most").unwrap_err().to_string().contains("most"));
        assert!(parse("--workers many").unwrap_err().to_string().contains("many"));
    }
}
