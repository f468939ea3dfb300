//! As much of Postgres's protocol as it takes to recognise that a change has been committed and its answer is on the
//! way.

use std::collections::HashMap;

/// The kind of change that a request makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Leases: claims, heartbeats, releases; and rows of the host.
    Other,
    /// Commits of runs, in one statement that is its own transaction.
    Wave,
    /// The COMMIT of a transaction.
    Commit,
}

impl Change {
    fn of(sql: &str) -> Option<Change> {
        let sql = sql.to_ascii_lowercase();
        let sql = sql.trim_start();
        if sql.starts_with("commit") {
            return Some(Change::Commit);
        }
        let writes = |table: &str| {
            ["insert into", "update", "delete from"].iter().any(|verb| sql.contains(&format!("{verb} {table}")))
        };
        if writes("squidmesh_runs") {
            Some(Change::Wave)
        } else if writes("squidmesh") || writes("torture_rows") {
            Some(Change::Other)
        } else {
            None
        }
    }
}

/// The client's side of a connection: which requests are complete, and what each of them changes.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    buffer: Vec<u8>,
    started: bool,
    statements: HashMap<Vec<u8>, Option<Change>>,
    current: Option<Change>,
}

impl Requests {
    /// Reads bytes from the client, and returns the change of each request that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Option<Change>> {
        self.buffer.extend_from_slice(bytes);
        let mut ended = Vec::new();
        if !self.started {
            let Some(length) = length_at(&self.buffer, 0).filter(|length| *length <= self.buffer.len()) else {
                return ended;
            };
            self.buffer.drain(..length);
            self.started = true;
            ended.push(None);
        }
        while let Some((kind, body)) = take(&mut self.buffer) {
            match kind {
                b'P' => {
                    let (name, rest) = text(&body);
                    let (sql, _) = text(rest);
                    self.statements.insert(name.to_vec(), Change::of(&String::from_utf8_lossy(sql)));
                }
                b'B' => {
                    let (_, rest) = text(&body);
                    let (name, _) = text(rest);
                    self.current = self.current.max(self.statements.get(name).copied().flatten());
                }
                b'Q' => {
                    let (sql, _) = text(&body);
                    ended.push(Change::of(&String::from_utf8_lossy(sql)));
                }
                b'S' => ended.push(self.current.take()),
                _ => {}
            }
        }
        ended
    }
}

/// The server's side of a connection: which requests are answered, and whether they succeeded.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    buffer: Vec<u8>,
    failed: bool,
}

/// The end of the answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Whether it succeeded and no transaction is open: then the change is committed.
    pub(crate) committed: bool,
}

impl Answers {
    /// Reads bytes from the server, and returns each answer that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Answered> {
        self.buffer.extend_from_slice(bytes);
        let mut answered = Vec::new();
        while let Some((kind, body)) = take(&mut self.buffer) {
            match kind {
                b'E' => self.failed = true,
                b'Z' => {
                    let idle = body.first() == Some(&b'I');
                    answered.push(Answered { committed: idle && !self.failed });
                    self.failed = false;
                }
                _ => {}
            }
        }
        answered
    }
}

/// Removes a whole message from the front: its type and its body.
fn take(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let length = length_at(buffer, 1).filter(|length| *length < buffer.len())?;
    let message: Vec<u8> = buffer.drain(..=length).collect();
    Some((message[0], message[5..].to_vec()))
}

fn length_at(buffer: &[u8], place: usize) -> Option<usize> {
    let bytes: [u8; 4] = buffer.get(place..place + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) as usize)
}

/// Splits off a text that ends with a zero byte, and returns it with the rest.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[test]
    fn a_prepared_change_is_recognized_however_its_bytes_arrive() {
        let mut requests = Requests::default();
        assert_eq!(requests.feed(&[0, 0, 0, 8, 0, 3, 0, 0]), [None], "the greeting");
        let parse = message(b'P', b"one\0WITH a AS (UPDATE squidmesh_runs SET x = 1) SELECT 1\0\0\0");
        let bind = message(b'B', b"\0one\0\0\0");
        let bytes = [parse, message(b'S', b""), bind.clone(), message(b'S', b""), bind, message(b'S', b"")].concat();
        let seen: Vec<_> = bytes.iter().flat_map(|byte| requests.feed(&[*byte])).collect();
        assert_eq!(seen, [None, Some(Change::Wave), Some(Change::Wave)]);
        assert_eq!(requests.feed(&message(b'Q', b"COMMIT\0")), [Some(Change::Commit)]);
        assert_eq!(requests.feed(&message(b'Q', b"SELECT 1 FROM squidmesh_runs\0")), [None]);
    }

    #[test]
    fn an_answer_says_whether_something_was_committed() {
        let mut answers = Answers::default();
        let (idle, open) = (message(b'Z', b"I"), message(b'Z', b"T"));
        let committed = |bytes: &[Vec<u8>], answers: &mut Answers| {
            answers.feed(&bytes.concat()).iter().map(|answer| answer.committed).collect::<Vec<_>>()
        };
        assert_eq!(committed(&[message(b'C', b"UPDATE 1\0"), idle.clone(), open], &mut answers), [true, false]);
        assert_eq!(committed(&[message(b'E', b"\0"), idle.clone(), idle], &mut answers), [false, true]);
    }
}
