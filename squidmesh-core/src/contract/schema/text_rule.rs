//! Rules about a single string or number that a library evaluates: patterns, formats and multiples.
//!
//! Each is compiled once, however often a schema names it, within a bound on its size. Each knows the cost of
//! evaluating a string.

use std::fmt;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::json::truncate_text;

/// A rule about one string or number.
pub(super) struct TextRule {
    validator: Validator,
    /// The rule, as the end of a sentence.
    words: String,
    /// The work of evaluating 16 bytes.
    weight: u64,
}

/// The maximum sizes of a compiled pattern in bytes, and the cost of each. The time for a string grows with both.
const SIZES: [(usize, u64); 3] = [(1 << 14, 1), (1 << 16, 8), (1 << 18, 64)];

/// The maximum length of a pattern in bytes, and how much of it is shown.
const LONGEST: usize = 4_096;
const SHOWN: usize = 100;

impl TextRule {
    /// Compiles `pattern`, `format` or `multipleOf`.
    ///
    /// # Errors
    /// Returns why the rule does not compile.
    pub(super) fn compile(keyword: &str, rule: &Value) -> Result<Self, String> {
        if rule.as_str().is_some_and(|rule| rule.len() > LONGEST) {
            return Err(format!("a {keyword} has at most {LONGEST} bytes"));
        }
        let shown = truncate_text(rule.as_str().map_or_else(|| rule.to_string(), str::to_owned), SHOWN);
        let words = match keyword {
            "pattern" => format!("must match the pattern {shown}"),
            "format" => format!("must be written as {shown}"),
            _ => format!("must be a multiple of {shown}"),
        };
        let schema = Value::Object(Map::from_iter([(keyword.to_owned(), rule.clone())]));
        for (size, weight) in SIZES {
            let patterns = PatternOptions::regex().size_limit(size).dfa_size_limit(4 << 20);
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            if let Ok(validator) = options.with_pattern_options(patterns).build(&schema) {
                return Ok(TextRule { validator, words, weight });
            }
        }
        Err(match keyword {
            "pattern" => format!("{shown:?} is no pattern that can be matched in time linear in the text"),
            _ => format!("{shown:?} is no {keyword}"),
        })
    }

    pub(super) fn holds(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Returns the rule as the end of a sentence.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Returns the work of evaluating a string of this many bytes.
    pub(super) fn cost(&self, bytes: usize) -> u64 {
        u64::try_from(bytes / 16).unwrap_or(u64::MAX).saturating_add(1).saturating_mul(self.weight)
    }
}

impl fmt::Debug for TextRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TextRule").field(&self.words).finish()
    }
}
