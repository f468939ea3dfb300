//! What a step declares about its failures: when they are retried, and which are not.

use squidmesh_core::definition::DefinitionError;
use squidmesh_core::{Retry, Step, secs, wait};

use crate::declared::{errors, step, triggered};

#[test]
fn a_backoff_that_doubles_begins_with_some_time() {
    let never_grows = Retry::exponential(2, secs(0)..secs(1));
    let found = errors(triggered().step(step("a").retry(never_grows.clone())));
    assert_eq!(found, [DefinitionError::ZeroBackoff { step: "a".to_owned(), what: "backoff", max: secs(1) }]);
    let expected = "the backoff of the step \"a\" begins at zero and never grows to 1s: begin with some time, or say `Retry::fixed`";
    assert_eq!(found[0].to_string(), expected);
    let undone = step("a").compensate(crate::declared::echo).compensation_retry(never_grows);
    let what = "compensation backoff";
    assert_eq!(
        errors(triggered().step(undone)),
        [DefinitionError::ZeroBackoff { step: "a".to_owned(), what, max: secs(1) }]
    );
    assert!(triggered().step(step("a").retry(Retry::fixed(2, secs(0)))).build().is_ok(), "no delay is said so");
}

#[test]
fn only_a_handler_has_errors_to_classify() {
    let waits = Step::new("a", wait(secs(1))).terminal_if(|_: &std::io::Error| true);
    let expected = DefinitionError::TerminalIfOnBuiltIn { step: "a".to_owned() };
    assert_eq!(errors(triggered().step(waits)), [expected]);
}
