//! The names of a Rust source file: what its modules define, import and use by path.
//!
//! Reads tokens, not types. Leaves out comments, texts and the code that is compiled for tests alone. Knows nothing
//! of other files.

use std::collections::{BTreeMap, BTreeSet};

/// A path as it is written, and its line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// An import.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Import {
    pub(crate) path: Written,
    /// The name in the importing module; `None` for a glob.
    pub(crate) name: Option<String>,
    /// Whether it is a re-export.
    pub(crate) public: bool,
}

/// A module of a file: the file's own one, or one that is written out in it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scope {
    pub(crate) defined: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// The paths of at least two segments in the code.
    pub(crate) paths: Vec<Written>,
    /// The names of items in the code, with the first of each path.
    pub(crate) words: BTreeSet<String>,
}

/// The modules of a file, by their path below the file's own module, which is the empty path.
pub(crate) type Scopes = BTreeMap<Vec<String>, Scope>;

struct Token {
    text: String,
    line: usize,
}

/// The keywords before the name of an item.
const ITEMS: &[&str] = &["struct", "enum", "trait", "fn", "type", "const", "static", "union"];
/// The keywords with which an item may begin. Anything else that is compiled for tests ends at a comma.
const BEGINNINGS: &[&str] = &[
    "pub",
    "mod",
    "use",
    "impl",
    "async",
    "unsafe",
    "extern",
    "macro_rules",
    "struct",
    "enum",
    "trait",
    "fn",
    "type",
    "const",
    "static",
];

/// Reads the text of a file.
pub(crate) fn read(text: &str) -> Scopes {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, scopes: Scopes::from([(Vec::new(), Scope::default())]) };
    reader.module(&[]);
    reader.scopes
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    scopes: Scopes,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text.as_str())
    }

    fn before(&self) -> &str {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or("", |token| token.text.as_str())
    }

    fn scope(&mut self, module: &[String]) -> &mut Scope {
        self.scopes.entry(module.to_vec()).or_default()
    }

    /// Reads a module up to its closing brace, or to the end of the file.
    fn module(&mut self, module: &[String]) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "}" if depth == 0 => return,
                "{" => depth += 1,
                "}" => depth -= 1,
                "#" if self.for_tests() => {
                    self.skip_item();
                    continue;
                }
                "mod" if self.peek(2) == ";" => self.at += 2,
                "mod" if self.peek(2) == "{" => {
                    let name = self.peek(1).to_owned();
                    self.scope(module).defined.insert(name.clone());
                    self.at += 3;
                    self.module(&[module, &[name]].concat());
                }
                "use" if self.peek(1) != "<" => {
                    let public = self.is_public();
                    self.at += 1;
                    self.import(module, Vec::new(), public);
                    continue;
                }
                keyword if depth == 0 && ITEMS.contains(&keyword) && is_name(self.peek(1)) => {
                    let name = self.peek(1).to_owned();
                    self.scope(module).defined.insert(name);
                    self.at += 1;
                }
                name if is_name(name) && !matches!(self.before(), "." | "::") => {
                    self.path(module);
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Returns whether the current attribute leaves its item to tests.
    fn for_tests(&self) -> bool {
        let attribute: Vec<&str> = (0..7).map(|ahead| self.peek(ahead)).collect();
        matches!(attribute.as_slice(), ["#", "[", "cfg", "(", "test", ..] | ["#", "[", "cfg", "(", "all", "(", "test"])
    }

    /// Skips the current attribute, and the item that it belongs to.
    fn skip_item(&mut self) {
        while self.peek(0) == "#" {
            self.at += 1;
            self.skip_group();
        }
        let listed = !BEGINNINGS.contains(&self.peek(0));
        while self.at < self.tokens.len() {
            match self.peek(0) {
                ";" => {
                    self.at += 1;
                    return;
                }
                "," if listed => return,
                "}" => return,
                "{" => {
                    self.skip_group();
                    return;
                }
                "(" | "[" => self.skip_group(),
                _ => self.at += 1,
            }
        }
    }

    /// Skips from an opening bracket past the closing one.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn is_public(&self) -> bool {
        match self.before() {
            "pub" => true,
            ")" => self.tokens.get(..self.at).is_some_and(|before| {
                before
                    .iter()
                    .rev()
                    .find(|token| token.text == "pub" || token.text == ";")
                    .is_some_and(|token| token.text == "pub")
            }),
            _ => false,
        }
    }

    /// Reads a tree of imports below a path, up to the comma, brace or semicolon after it.
    fn import(&mut self, module: &[String], mut segments: Vec<String>, public: bool) {
        let mut name = None;
        loop {
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            let text = self.peek(0).to_owned();
            self.at += 1;
            match text.as_str() {
                "::" => {}
                "{" => {
                    while !matches!(self.peek(0), "}" | "") {
                        self.import(module, segments.clone(), public);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    self.scope(module).imports.push(Import { path: Written { segments, line }, name: None, public });
                    return;
                }
                "as" => {
                    name = Some(self.peek(0).to_owned());
                    self.at += 1;
                }
                "self" if !segments.is_empty() => {}
                text if is_name(text) => segments.push(text.to_owned()),
                _ => {
                    self.at -= 1;
                    let name = name.or_else(|| segments.last().cloned());
                    self.scope(module).imports.push(Import { path: Written { segments, line }, name, public });
                    return;
                }
            }
        }
    }

    /// Reads a name, or a path of several.
    fn path(&mut self, module: &[String]) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut segments = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            segments.push(self.peek(1).to_owned());
            self.at += 2;
        }
        // A name in lower case may be a variable, unless it is called.
        let is_item = segments.len() > 1
            || matches!(self.peek(0), "(" | "!")
            || self.tokens.get(self.at - 1).is_some_and(|token| token.text.starts_with(char::is_uppercase));
        let scope = self.scope(module);
        scope.words.extend(segments.first().filter(|_| is_item).cloned());
        if segments.len() > 1 {
            scope.paths.push(Written { segments, line });
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Splits a text into names and signs, without comments, literals and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < chars.len() {
        let this = at(index);
        let begun = index;
        match this {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0_usize;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= chars.len() {
                        break;
                    }
                }
            }
            '"' => {
                index += 1;
                while index < chars.len() && at(index) != '"' {
                    index += if at(index) == '\\' { 2 } else { 1 };
                }
                index += 1;
            }
            'r' | 'b' | 'c' if raw_text(&chars, index).is_some() => {
                index = raw_text(&chars, index).unwrap_or(index + 1)
            }
            '\'' if at(index + 1) == '\\' => {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            '\'' if at(index + 2) == '\'' => index += 3,
            '\'' => {
                index += 1;
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
            }
            ':' if at(index + 1) == ':' => {
                tokens.push(Token { text: "::".to_owned(), line });
                index += 2;
            }
            _ if this.is_alphanumeric() || this == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                tokens.push(Token { text: chars.get(begun..index).unwrap_or_default().iter().collect(), line });
            }
            _ => {
                if !this.is_whitespace() {
                    tokens.push(Token { text: this.to_string(), line });
                }
                index += 1;
            }
        }
        line += chars.get(begun..index).unwrap_or_default().iter().filter(|found| **found == '\n').count();
    }
    tokens
}

/// Returns the position behind a raw text that begins at `index`, or behind the prefix of an ordinary one.
fn raw_text(chars: &[char], index: usize) -> Option<usize> {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let before = index.checked_sub(1).map_or('\0', at);
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let mut here = index;
    while matches!(at(here), 'b' | 'c') && here == index {
        here += 1;
    }
    if at(here) != 'r' {
        return matches!(at(here), '"').then_some(here);
    }
    here += 1;
    let marks = (here..).take_while(|place| at(*place) == '#').count();
    here += marks;
    if at(here) != '"' {
        return None;
    }
    here += 1;
    while here < chars.len() {
        if at(here) == '"' && (1..=marks).all(|mark| at(here + mark) == '#') {
            return Some(here + marks + 1);
        }
        here += 1;
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        read(text).remove(&Vec::new()).unwrap()
    }

    fn imported(text: &str) -> Vec<(String, Option<String>, bool)> {
        let imports = scope(text).imports.into_iter();
        imports.map(|import| (import.path.segments.join("::"), import.name, import.public)).collect()
    }

    #[test]
    fn a_tree_of_imports_is_spread_out() {
        let text =
            "use crate::{a::B, json as rules, c::{self, *}};\npub(crate) use self::d::e;\nfn f() {}\nuse super::g;";
        let name = |name: &str| Some(name.to_owned());
        let expected = [
            ("crate::a::B", name("B"), false),
            ("crate::json", name("rules"), false),
            ("crate::c", name("c"), false),
            ("crate::c", None, false),
            ("self::d::e", name("e"), true),
            ("super::g", name("g"), false),
        ];
        assert_eq!(imported(text), expected.map(|(path, name, public)| (path.to_owned(), name, public)));
    }

    #[test]
    fn paths_in_the_code_are_found_with_their_lines() {
        let paths = scope("fn a() {\n    let b = crate::c::d(e::<F>(), g::H);\n    b.i::<crate::j::K>();\n}").paths;
        let paths: Vec<_> = paths.iter().map(|path| (path.segments.join("::"), path.line)).collect();
        let expected = [("crate::c::d", 2), ("g::H", 2), ("crate::j::K", 3)];
        assert_eq!(paths, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn comments_texts_and_characters_are_no_code() {
        let text = "// a::b\n/* c::d /* e::f */ */ fn g() { h(\"i::j \\\" k::l\", r#\"m::n \" o::p\"#, ':', '\\'', b\"q::r\") }\nfn s<'t>() {}";
        assert_eq!(scope(text).paths, []);
        assert!(["g", "s"].iter().all(|name| scope(text).defined.contains(*name)));
    }

    #[test]
    fn what_is_compiled_for_tests_is_left_out() {
        let text = "struct A {\n    #[cfg(test)]\n    b: c::D,\n    e: f::G,\n}\n#[cfg(test)]\n#[path = \"x\"]\nmod tests { use h::i; }\n#[cfg(test)]\nuse j::k;\n#[cfg(test)]\nmod l;\nuse m::n;\n";
        assert_eq!(imported(text).len(), 1);
        assert_eq!(scope(text).paths.len(), 1);
    }

    #[test]
    fn a_module_that_is_written_out_has_names_of_its_own() {
        let scopes = read("mod a {\n    use super::B;\n    fn c() {}\n}\nfn d() {}\nmod e;\n");
        let inner = scopes.get(&vec!["a".to_owned()]).unwrap();
        assert_eq!((inner.imports.len(), inner.defined.len()), (1, 1));
        assert!(scope("mod a {}\nfn d() {}\nmod e;\n").defined.iter().eq(["a", "d"]));
    }
}
