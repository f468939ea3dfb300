//! Plain words: phrases that the project's pages avoid, and lines of at most 120 columns.
//!
//! Finds prose by its position in a file and knows nothing of its subject. Skips code blocks, inline code and link
//! targets.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// The maximum number of columns in a line of prose. Rows of tables are exempt, since they cannot wrap.
const COLUMNS: usize = 120;

/// Words and phrases to avoid, in lower case, and what to write instead. A phrase after `^` is avoided at the
/// beginning of a sentence.
const AVOIDED: &[(&[&str], &str)] = &[
    (&["tell", "tells", "told", "telling"], "return, report, notify, emit or log"),
    (&["hear", "hears", "heard", "hearing"], "receive, or be notified"),
    (&["lie", "lies", "lying", "lain"], "be stored, wait, or be idle"),
    (&["go on", "goes on", "going on", "gone on", "went on"], "continue, resume or run"),
    (&["at hand", "in hand"], "cached, held or running"),
    (&["made good"], "repaired, undone or compensated"),
    (&["for good"], "terminally or permanently"),
    (&["so many"], "many, or the number"),
    (&["somebody"], "a user, an operator, another process"),
    (&["whoever"], "the process, worker or caller that"),
    (&["whatever"], "a noun, or regardless of"),
    (&["by and large"], "mostly, or leave it out"),
    (&["a matter"], "name the thing"),
    (&["^ what was"], "a noun as the subject"),
];

/// Returns the prose in a line of a file, if the line has any.
type ProseOf = fn(&str) -> Option<&str>;

/// The extensions of files with prose: pages, and the doc comments of the code.
const SOURCES: &[(&str, ProseOf)] = &[("md", |line| Some(line)), ("rs", doc_comment)];

/// The files whose code may have words to avoid: they list them.
const LISTS: [&str; 2] = ["xtask/src/prose.rs", "xtask/src/vocabulary.rs"];

/// Returns the text of a doc comment's line.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
}

/// Returns the words to avoid in code: in names, texts and plain comments.
fn wrong_in_code(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| doc_comment(line).is_none()) {
        let lower = line.to_lowercase();
        if !AVOIDED.iter().flat_map(|(phrases, _)| *phrases).any(|phrase| lower.contains(first_word(phrase))) {
            continue;
        }
        let words = words(&[(number, line)]);
        for at in 0..words.len() {
            let found = |phrase: &&&str| begins_with(words.get(at..).unwrap_or_default(), phrase);
            for (phrases, instead) in AVOIDED {
                if let Some(phrase) = phrases.iter().filter(|phrase| !phrase.starts_with('^')).find(found) {
                    wrong.push(format!("{}:{number}: `{phrase}`: write {instead}", path.display()));
                }
            }
        }
    }
    wrong
}

/// Checks the prose of every file of the work tree.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let mut wrong = Vec::new();
    for path in workspace::files()? {
        let source = SOURCES.iter().find(|(extension, _)| path.extension().is_some_and(|found| found == *extension));
        let Some((_, prose)) = source else { continue };
        let text = fs::read_to_string(root.join(&path)).while_doing(format!("read {}", path.display()))?;
        wrong.extend(wrong_in(&path, &text, *prose));
        if path.extension().is_some_and(|found| found == "rs") && !LISTS.iter().any(|list| path.ends_with(list)) {
            wrong.extend(wrong_in_code(&path, &text));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

fn first_word(phrase: &str) -> &str {
    phrase.split(' ').next().unwrap_or(phrase)
}

/// A word, and its position.
struct Word {
    text: String,
    line: usize,
    begins_sentence: bool,
}

fn wrong_in(path: &Path, text: &str, prose: ProseOf) -> Vec<String> {
    let mut wrong = Vec::new();
    for paragraph in paragraphs(text, prose) {
        for (number, line) in &paragraph {
            let columns = line.trim_end().chars().count();
            if columns > COLUMNS && !is_row(line) && can_wrap(line) {
                wrong.push(format!("{}:{number}: {columns} columns: wrap prose at {COLUMNS}", path.display()));
            }
        }
        let words = words(&paragraph);
        for (at, word) in words.iter().enumerate() {
            let found = |phrase: &&&str| begins_with(words.get(at..).unwrap_or_default(), phrase);
            for (phrases, instead) in AVOIDED {
                if let Some(phrase) = phrases.iter().find(found) {
                    let phrase = phrase.trim_start_matches("^ ");
                    wrong.push(format!("{}:{}: `{phrase}`: write {instead}", path.display(), word.line));
                }
            }
        }
    }
    wrong
}

/// Returns the lines of prose between blank lines, code blocks, headings and rows, each with its number.
fn paragraphs(text: &str, prose: ProseOf) -> Vec<Vec<(usize, &str)>> {
    let (mut paragraphs, mut current) = (Vec::new(), Vec::new());
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = prose(line);
        let begin = line.map_or("", str::trim_start);
        let fence = begin.starts_with("```");
        let alone = line.is_some_and(is_row) || begin.starts_with('#');
        if in_code || fence || alone || begin.is_empty() {
            paragraphs.push(std::mem::take(&mut current));
        }
        in_code ^= fence;
        let Some(line) = line.filter(|_| !in_code && !fence) else { continue };
        current.push((number, line));
        if alone {
            paragraphs.push(std::mem::take(&mut current));
        }
    }
    paragraphs.push(current);
    paragraphs
}

fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// Returns whether a line can be wrapped: a long link alone cannot.
fn can_wrap(line: &str) -> bool {
    line.trim_start_matches([' ', '-', '*']).trim_end().contains(' ')
}

/// Returns the words of a paragraph, without code and the targets of links, in lower case.
fn words(paragraph: &[(usize, &str)]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut in_code, mut in_target, mut begins_sentence) = (false, false, true);
    for (number, line) in paragraph {
        let (mut before, mut within) = ('\n', false);
        for (this, next) in line.chars().zip(line.chars().skip(1).chain(['\n'])) {
            let skipped = in_code || in_target;
            match this {
                '`' if before != '`' => in_code = !in_code,
                '(' if before == ']' && !in_code => in_target = true,
                ')' if in_target => in_target = false,
                '.' | '!' | '?' | '|' if !skipped && next.is_whitespace() => begins_sentence = true,
                _ => {}
            }
            let letter = !skipped && (this.is_alphanumeric() || this == '\'');
            match words.last_mut().filter(|_| letter && within) {
                Some(word) => word.text.extend(this.to_lowercase()),
                None if letter => {
                    words.push(Word { text: this.to_lowercase().collect(), line: *number, begins_sentence });
                    begins_sentence = false;
                }
                // A code span is a word of its own, so that no phrase extends across it.
                None if this == '`' => words.push(Word { text: String::new(), line: *number, begins_sentence: false }),
                None => {}
            }
            within = letter;
            before = this;
        }
    }
    words
}

fn begins_with(words: &[Word], phrase: &str) -> bool {
    let at_the_beginning = phrase.strip_prefix("^ ");
    let mut wanted = at_the_beginning.unwrap_or(phrase).split(' ');
    let placed = at_the_beginning.is_none() || words.first().is_some_and(|word| word.begins_sentence);
    let mut words = words.iter();
    placed && wanted.all(|wanted| words.next().is_some_and(|word| word.text == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        wrong_in(Path::new("a.md"), text, |line| Some(line))
    }

    #[test]
    fn a_word_to_avoid_is_found_by_line_in_any_case() {
        let found = wrong("# Runs\n\nA run resumes.\nTold once, it waits.\n");
        assert!(matches!(found.as_slice(), [only] if only.starts_with("a.md:4: `told`")), "{found:?}");
        assert_eq!(wrong("## A run that GOES ON\n").len(), 1);
        assert_eq!(wrong("| run | it lies there |\n").len(), 1);
    }

    #[test]
    fn a_phrase_is_found_over_the_end_of_a_line_and_not_of_a_paragraph() {
        let found = wrong("Then the run goes\non.\n");
        assert!(matches!(found.as_slice(), [only] if only.starts_with("a.md:1: `goes on`")), "{found:?}");
        assert_eq!(wrong("Then the run goes\n\non.\n"), [""; 0]);
    }

    #[test]
    fn part_of_a_word_is_none() {
        assert_eq!(wrong("A storyteller relies on a forehand, as clients do.\n"), [""; 0]);
    }

    #[test]
    fn some_phrases_are_avoided_at_the_beginning_of_a_sentence_alone() {
        assert_eq!(wrong("An error states what was wrong. It helps.\n"), [""; 0]);
        assert_eq!(wrong("It failed. What was written stays.\n").len(), 1);
        assert_eq!(wrong("What was\nwritten stays.\n").len(), 1);
    }

    #[test]
    fn code_and_targets_of_links_are_left_out() {
        let text = "Call `notify_work` or `tell`, see [news](lies/told.md).\n\n```text\ntold\n```\n\nIt waits `x` go `y` on.\n";
        assert_eq!(wrong(text), [""; 0]);
        assert_eq!(wrong("Call `a\ntell`, then wait.\n"), [""; 0], "a code span that wraps");
        assert_eq!(wrong("Call `a`, it tells `b`.\n").len(), 1);
        assert_eq!(wrong("```text\n```\nIt is told.\n").len(), 1, "behind a code block");
    }

    #[test]
    fn a_long_line_is_found_unless_it_cannot_wrap() {
        let long = "word ".repeat(30);
        let found = wrong(&format!("Short.\n{long}\n"));
        assert!(matches!(found.as_slice(), [only] if only.starts_with("a.md:2: 149 columns")), "{found:?}");
        for fine in [format!("| {long} |"), format!("```\n{long}\n```"), format!("- {}", "x".repeat(130))] {
            assert_eq!(wrong(&fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn words_to_avoid_are_found_in_code() {
        let text =
            "/// It goes on.\nfn goes_on() { log(\"it lies there\") } // for good\nlet told_at = relies(what_was);\n";
        let found = wrong_in_code(Path::new("a.rs"), text);
        assert_eq!(found.iter().filter(|found| found.starts_with("a.rs:2: ")).count(), 3, "{found:?}");
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn the_pages_are_in_plain_words() {
        assert!(check().is_ok(), "{:?}", check());
    }

    #[test]
    fn another_source_has_prose_in_some_of_its_lines() {
        fn docs(line: &str) -> Option<&str> {
            line.trim_start().strip_prefix("///")
        }
        let text = "/// It goes\n/// on.\nfn told() {}\n    /// ```\n    /// told\n    /// ```\n";
        let found = wrong_in(Path::new("a.rs"), text, docs);
        assert!(matches!(found.as_slice(), [only] if only.starts_with("a.rs:1: `goes on`")), "{found:?}");
    }
}
