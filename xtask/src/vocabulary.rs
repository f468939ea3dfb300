//! One vocabulary: no code, comment or page has a name that the project gave up, and `tell` is nearly gone.
//!
//! Knows names, not their meaning. In comments and pages it reads the code spans alone, since outside of them a name
//! may be an ordinary word. Does not read the changelog and the lints, which list old names.

use std::fs;

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// Names that were given up, and what stands for each.
const GIVEN_UP: &[(&[&str], &str)] = &[
    (&["tell_of_work", "hears_of_work", "work_committed"], "notify_work, is_listening, work_notified"),
    (&["SingleClaim"], "ClaimResult"),
    (&["Transacted", "Pruned", "Fired"], "TransactionOutcome, PruneBatch, FireSummary"),
    (&["at_hand", "run_out"], "cached_runs, lease_expired"),
    (&["put_trigger", "find_by_key"], "compare_and_set_trigger, find_by_idempotency_key"),
    (&["keep_leases", "keep_schedules"], "run_heartbeats, run_scheduler"),
    (&["Decide", "Bulk"], "DecideApproval, BulkPage"),
    (&["Stopped", "Delayed", "on_error_recovering"], "AttemptCancelled, WithDelay, on_error with recovery"),
    (&["Persistence", "Patience", "PATIENCE"], "RetryPolicy, RetryBudget, a constant named for the thing"),
    (&["Verdict", "Told", "Ground"], "a noun for the thing"),
    (&["HotRuns", "HotRun", "Turnstile", "Settled", "Unanswered"], "the words of group commit"),
    (&["decide_together", "decide_alone", "decide_in"], "the words of group commit"),
    (&["GoOn", "put_off", "owe_compensation", "late_sibling"], "Continuation, reschedule, schedule_compensation"),
    (&["held_up", "UNSETTLED", "told_at"], "lock_wait, MAX_RETRIES, read_at"),
    (&["lookout", "Lookout", "trouble", "Trouble"], "poller, outage_log"),
    (&["Cells", "moody", "Moody", "suite_sharpness", "dice", "Dice"], "crash_matrix, flaky_executor, rng"),
    (&["CannotResume", "Continued", "UnknownWork"], "CannotUnblock, Resumed, stranded"),
    (&["stranger", "strangers", "Strangers"], "stranded"),
];

/// The maximum number of occurrences of `tell`, `tells` and `told` as words of names.
const TELLS: usize = 50;

/// The files that may have given-up names: they list them.
const LISTS: [&str; 3] = ["CHANGELOG.md", "xtask/src/prose.rs", "xtask/src/vocabulary.rs"];

/// Checks the names in every source file and page of the work tree.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let (mut wrong, mut tells) = (Vec::new(), Vec::new());
    for path in workspace::files()? {
        let is = |kind| path.extension().is_some_and(|extension| extension == kind);
        let (code, page) = (is("rs"), is("md"));
        if !(code || page) || LISTS.iter().any(|list| path.ends_with(list)) {
            continue;
        }
        let text = fs::read_to_string(root.join(&path)).while_doing(format!("read {}", path.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            let prose = page || line.trim_start().starts_with("//");
            for name in names(line, prose) {
                if let Some((_, instead)) = GIVEN_UP.iter().find(|(names, _)| names.contains(&name)) {
                    wrong.push(format!("{}:{number}: `{name}`: write {instead}", path.display()));
                }
                if tells_in(name) > 0 {
                    tells.push(format!("{}:{number}: `{name}`", path.display()));
                }
            }
        }
    }
    if tells.len() > TELLS {
        wrong.push(format!("`tell`, `tells` and `told` occur {} times, at most {TELLS} are allowed:", tells.len()));
        wrong.append(&mut tells);
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

/// Returns the names in a line; in a line of prose, those in its code spans.
fn names(line: &str, prose: bool) -> impl Iterator<Item = &str> {
    let spans = line.split('`').enumerate().filter(move |(place, _)| !prose || place % 2 == 1);
    spans.flat_map(|(_, span)| span.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
}

/// Returns the number of words of a name that are `tell`, `tells` or `told`.
fn tells_in(name: &str) -> usize {
    let words = words(name);
    words.iter().filter(|word| ["tell", "tells", "told"].contains(&word.as_str())).count()
}

/// Returns the words of a name in any case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_has_names_in_its_code_spans() {
        let found = |line, prose| names(line, prose).filter(|name| !name.is_empty()).collect::<Vec<_>>();
        assert_eq!(found("/// Stopped by `Stopped::new`.", true), ["Stopped", "new"]);
        assert_eq!(found("let x = Stopped(`y`);", false), ["let", "x", "Stopped", "y"]);
    }

    #[test]
    fn words_of_a_name_are_found_in_any_case() {
        assert_eq!(words("told_at"), ["told", "at"]);
        assert_eq!(words("NextDueTold"), ["next", "due", "told"]);
        assert_eq!([tells_in("TOLD"), tells_in("tellers"), tells_in("tell_what_was_told")], [1, 0, 2]);
    }
}
