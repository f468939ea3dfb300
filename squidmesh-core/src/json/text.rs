//! Texts about values: the path of a value, and truncated texts.
//!
//! Must never show a value, only the path to it.

use std::fmt::Write;

use serde_path_to_error::Segment as Found;

/// One segment of the path to a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// Returns the segments of a path at which serde stopped.
pub(super) fn segments<'a>(found: impl Iterator<Item = &'a Found>) -> impl Iterator<Item = Segment<'a>> {
    found.map(|segment| match segment {
        Found::Seq { index } => Segment::Index(*index),
        Found::Map { key } | Found::Enum { variant: key } => Segment::Key(key),
        Found::Unknown => Segment::Key("?"),
    })
}

/// The maximum number of characters of a key, and of segments of a path, that are shown.
const KEY_SHOWN: usize = 60;
const SEGMENTS_SHOWN: usize = 24;
/// The approximate maximum number of bytes of a path that are shown.
const PATH_SHOWN: usize = 400;

/// Formats the path of a value for people, such as `order.items[2].price`. Its length is bounded for any keys.
pub(crate) fn path<'a>(segments: impl Iterator<Item = Segment<'a>>) -> String {
    let mut text = String::new();
    for (count, segment) in segments.enumerate() {
        if count == SEGMENTS_SHOWN || text.len() > PATH_SHOWN {
            text.push_str(".…");
            break;
        }
        match segment {
            Segment::Index(index) => {
                // Writing to a String cannot fail.
                let _ = write!(text, "[{index}]");
            }
            Segment::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                push_key(&mut text, key);
            }
        }
    }
    if text.is_empty() { "the top level".to_owned() } else { text }
}

/// Appends a key: control characters become visible, and long keys are cut.
fn push_key(text: &mut String, key: &str) {
    let mut characters = key.chars();
    text.extend(characters.by_ref().take(KEY_SHOWN).map(
        |character| {
            if character.is_control() { '\u{fffd}' } else { character }
        },
    ));
    if characters.next().is_some() {
        text.push('…');
    }
}

/// The mark at the end of a text that was cut.
const MARK: &str = " … [truncated]";

/// Truncates a text at a character boundary to at most `max_bytes` bytes, and marks it if it was longer. The mark
/// is part of the bytes; if not even the mark fits, only the beginning of the text is left.
pub(crate) fn truncate_text(mut text: String, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text;
    }
    match max_bytes.checked_sub(MARK.len()) {
        Some(kept) => {
            text.truncate(text.floor_char_boundary(kept));
            text.push_str(MARK);
        }
        None => text.truncate(text.floor_char_boundary(max_bytes)),
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_within_the_limit_is_untouched() {
        assert_eq!(truncate_text("déjà vu".to_owned(), 9), "déjà vu");
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(truncate_text("x".repeat(100), 20), "xxxx … [truncated]");
    }

    #[test]
    fn a_path_is_bounded() {
        let key = "k".repeat(10_000);
        let long = path(std::iter::repeat_n(Segment::Key(&key), 10_000));
        assert!(long.chars().count() < 500, "{}", long.len());
    }

    proptest! {
        #[test]
        fn a_cut_text_never_exceeds_the_limit(text: String, max_bytes in 0_usize..60) {
            let cut = truncate_text(text.clone(), max_bytes);
            prop_assert!(cut.len() <= max_bytes);
            prop_assert!(cut == text || text.len() > max_bytes);
        }
    }
}
