//! What the program prints before it begins: what it does, and how to look inside meanwhile.
//!
//! Prints no URL of the command line: it may contain a password.

use std::fmt::Write as _;

use crate::options::{Options, SAMPLE};
use crate::scenario::Scenario;

/// Returns the text for these options.
pub fn introduction(options: &Options) -> String {
    let orders = match &options.orders {
        Some(path) => format!("the orders of {}", path.display()),
        None => format!("{} sample orders", options.scenario.orders(SAMPLE).len()),
    };
    let scenario = match options.scenario {
        Scenario::Plain => String::new(),
        other => format!(" in the scenario {}", other.name()),
    };
    let files = options.files();
    let files = files.display();
    let database = match &options.store {
        Some(_) => "the one of --store; the tables of the runs begin with squidmesh_".to_owned(),
        None => {
            format!("sqlite3 {files}/shop.db 'SELECT workflow, status, count(*) FROM squidmesh_runs GROUP BY 1, 2'")
        }
    };
    let mut text =
        format!("A shop processes {orders}{scenario}. Each is a run of the workflow checkout, then of fulfilment.\n");
    text.push_str(
        "Its payment gateway answers late, loses answers or does not answer, so steps fail and are retried.\n\
         Stop the program or kill it at any moment: started again, it continues. At the end, the shop's\n\
         tables, the runs and the gateway's journal have to agree to the cent.\n\n",
    );
    let _ = writeln!(text, "  database    {database}");
    let _ = writeln!(text, "  gateway     {files}/gateway-….jsonl");
    text.push_str("  log         RUST_LOG=squidmesh=debug before the command\n");
    text.push_str("  code        examples/src/lib.rs: the files in the order that an order takes\n");
    if options.store.is_none() {
        let _ = writeln!(text, "  begin anew  rm -r {files}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_orders_and_the_files() {
        let text = introduction(&Options::default());
        for said in ["250 sample orders.", "target/checkout/shop.db", "RUST_LOG", "rm -r target/checkout"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let text =
            introduction(&Options { scenario: Scenario::Saga, orders: Some("few".into()), ..Options::default() });
        assert!(text.contains("the orders of few in the scenario saga."), "{text}");
    }

    #[test]
    fn it_prints_no_password() {
        let store = Some("postgres://shop:secret@host/shop".to_owned());
        let text = introduction(&Options { store, ..Options::default() });
        assert!(!text.contains("secret") && !text.contains("rm -r"), "{text}");
    }
}
