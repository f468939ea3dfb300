//! Formats SQL for people: a clause a line, and a query in parentheses as an indented block.

use std::iter::Peekable;
use std::str::CharIndices;

/// Words that begin a line.
const CLAUSES: [&str; 19] = [
    "WITH",
    "SELECT",
    "FROM",
    "WHERE",
    "ORDER",
    "LIMIT",
    "RETURNING",
    "UNION",
    "INSERT",
    "UPDATE",
    "DELETE",
    "SET",
    "VALUES",
    "ON",
    "CROSS",
    "LEFT",
    "FOR",
    "USING",
    "OFFSET",
];
/// Words that begin the query of a block.
const QUERIES: [&str; 6] = ["WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "VALUES"];
const INDENT: &str = "    ";
const WIDTH: usize = 110;
/// A query that is no longer than this stays in its line.
const SHORT: usize = 80;

/// Returns the text with line breaks and indentation, and no other change.
pub(super) fn format(text: &str) -> String {
    let nodes = parse(text, &mut text.char_indices().peekable());
    let mut page = Page::default();
    page.add_all(&nodes, true);
    page.end_line();
    page.lines.join("\n")
}

/// Returns a formatted text in one line again.
pub(super) fn unformat(text: &str) -> String {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.replace("( ", "(").replace(" )", ")")
}

/// A part of a statement, with the space before it.
enum Node<'a> {
    Word(bool, &'a str),
    Parentheses(bool, Vec<Node<'a>>),
}

fn parse<'a>(text: &'a str, chars: &mut Peekable<CharIndices<'a>>) -> Vec<Node<'a>> {
    let (mut nodes, mut space) = (Vec::new(), false);
    while let Some((start, first)) = chars.next() {
        match first {
            ' ' => {
                space = true;
                continue;
            }
            '(' => nodes.push(Node::Parentheses(space, parse(text, chars))),
            ')' => return nodes,
            ',' => nodes.push(Node::Word(space, ",")),
            _ => {
                let quote = Some(first).filter(|first| *first == '\'');
                let mut end = start + first.len_utf8();
                let mut quoted = quote.is_some();
                while let Some((_, next)) = chars.next_if(|(_, next)| quoted || !" (),".contains(*next)) {
                    quoted ^= next == '\'';
                    end += next.len_utf8();
                }
                nodes.push(Node::Word(space, text.get(start..end).unwrap_or_default()));
            }
        }
        space = false;
    }
    nodes
}

/// Returns the nodes in one line.
fn inline(nodes: &[Node<'_>]) -> String {
    let mut line = String::new();
    for node in nodes {
        let (Node::Word(space, _) | Node::Parentheses(space, _)) = node;
        line.push_str(if *space && !line.is_empty() { " " } else { "" });
        match node {
            Node::Word(_, word) => line.push_str(word),
            Node::Parentheses(_, nodes) => line.push_str(&format!("({})", inline(nodes))),
        }
    }
    line
}

fn is_query(nodes: &[Node<'_>]) -> bool {
    matches!(nodes.first(), Some(Node::Word(_, word)) if QUERIES.contains(word))
}

fn has_query(nodes: &[Node<'_>]) -> bool {
    is_query(nodes) || nodes.iter().any(|node| matches!(node, Node::Parentheses(_, nodes) if has_query(nodes)))
}

#[derive(Default)]
struct Page {
    lines: Vec<String>,
    line: String,
    level: usize,
    /// Whether the line continues a clause.
    continued: bool,
}

impl Page {
    /// Adds nodes. In a query, each clause begins a line; in a long clause, each condition does.
    fn add_all(&mut self, nodes: &[Node<'_>], query: bool) {
        let (mut last, mut common, mut long) = ("", false, false);
        for (index, node) in nodes.iter().enumerate() {
            match node {
                Node::Word(space, word) => {
                    if query && begins_clause(last, word) && !(*word == "OFFSET" && self.line.starts_with("LIMIT")) {
                        self.end_line();
                        self.continued = false;
                        common = *word == "WITH";
                        let rest = nodes.get(index..).unwrap_or_default();
                        long =
                            self.level * INDENT.len() + inline(clause(rest)).len() > WIDTH && has_query(clause(rest));
                    } else if ["AND", "OR"].contains(word) && (long || !query) {
                        self.end_line();
                        self.continued = query;
                    }
                    self.add(*space, word);
                    // Each common table expression begins a line.
                    if common && *word == "," {
                        self.end_line();
                    }
                    last = word;
                }
                Node::Parentheses(space, nodes) => {
                    let line = format!("({})", inline(nodes));
                    let fits = self.line.len() + line.len() < WIDTH && !(common && is_query(nodes));
                    if !has_query(nodes) || (fits && line.len() <= SHORT) {
                        self.add(*space, &line);
                    } else {
                        self.add(*space, "(");
                        self.add_block(nodes);
                    }
                    last = ")";
                }
            }
        }
    }

    fn add_block(&mut self, nodes: &[Node<'_>]) {
        let (level, continued) = (self.level, self.continued);
        self.end_line();
        self.level += 1 + usize::from(continued);
        self.continued = false;
        self.add_all(nodes, is_query(nodes));
        self.end_line();
        (self.level, self.continued) = (level, continued);
        self.add(false, ")");
    }

    fn add(&mut self, space: bool, text: &str) {
        if space && !self.line.is_empty() {
            self.line.push(' ');
        }
        self.line.push_str(text);
    }

    /// Ends the line. A long one is continued after a comma or before a condition, inside parentheses only if it
    /// must be.
    fn end_line(&mut self) {
        let mut rest = std::mem::take(&mut self.line);
        let level = self.level + usize::from(self.continued);
        let mut indent = INDENT.repeat(level);
        while indent.len() + rest.len() > WIDTH {
            let limit = WIDTH - indent.len();
            let breaks: Vec<(usize, usize)> = breaks(&rest).filter(|(at, _)| *at <= limit).collect();
            let Some(depth) = breaks.iter().map(|(_, depth)| *depth).min() else { break };
            let Some((at, _)) = breaks.into_iter().rfind(|(_, of)| *of == depth) else { break };
            let after = rest.split_off(at);
            self.lines.push(format!("{indent}{rest}"));
            rest = after.trim_start().to_owned();
            indent = INDENT.repeat(level + 1);
        }
        if !rest.is_empty() {
            self.lines.push(format!("{indent}{rest}"));
        }
    }
}

/// Returns whether a word begins a clause, and is not part of one.
fn begins_clause(last: &str, word: &str) -> bool {
    let part = matches!((last, word), ("DO" | "FOR" | "KEY", "UPDATE") | ("DELETE", "FROM"));
    CLAUSES.contains(&word) && !part
}

/// Returns the nodes up to the next clause.
fn clause<'a, 'n>(nodes: &'n [Node<'a>]) -> &'n [Node<'a>] {
    let next = nodes.iter().skip(1).position(|node| matches!(node, Node::Word(_, word) if CLAUSES.contains(word)));
    nodes.get(..next.map_or(nodes.len(), |next| next + 1)).unwrap_or_default()
}

/// Returns where a line may be broken, each with the number of parentheses around it.
fn breaks(line: &str) -> impl Iterator<Item = (usize, usize)> {
    let (mut depth, mut quoted) = (0, false);
    line.char_indices().filter_map(move |(at, char)| {
        match char {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = usize::saturating_sub(depth, 1),
            ' ' if !quoted => {
                let (before, after) = line.split_at(at);
                let condition = [" AND ", " OR ", " WHEN ", " THEN "].iter().any(|word| after.starts_with(word));
                return (before.ends_with(',') || condition).then_some((at, depth));
            }
            _ => {}
        }
        None
    })
}
