//! The write-ahead log as bytes: where its frames end, which of them commit, and what a cut leaves of it.

use std::fmt;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// A recorded log.
pub(crate) struct Wal {
    bytes: Vec<u8>,
    /// The end of each frame.
    ends: Vec<usize>,
    /// The ends of the frames that commit a transaction.
    commits: Vec<usize>,
}

/// How much of the log reached the disk, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The number of bytes that are as they were written.
    pub(crate) whole: usize,
    /// The number of garbled bytes behind them.
    pub(crate) torn: usize,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of the log, and {} torn ones", self.whole, self.torn)
    }
}

impl Wal {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let frame = FRAME_HEADER + usize::try_from(number(8)).unwrap();
        assert_eq!((bytes.len() - HEADER) % frame, 0, "the log is frames and nothing else");
        let starts = (HEADER..bytes.len()).step_by(frame);
        // The header of a frame that commits holds the size of the database in pages.
        let commits = starts.clone().filter(|start| number(start + 4) != 0).map(|start| start + frame).collect();
        let ends = starts.map(|start| start + frame).collect();
        Wal { ends, commits, bytes }
    }

    /// Returns the ends of the transactions, from the first.
    pub(crate) fn commits(&self) -> &[usize] {
        &self.commits
    }

    pub(crate) fn frames(&self) -> usize {
        self.ends.len()
    }

    /// Returns the end of the last transaction that is whole under a cut.
    pub(crate) fn committed(&self, cut: Cut) -> usize {
        self.commits.iter().copied().take_while(|end| *end <= cut.whole).last().unwrap_or_default()
    }

    /// Returns every cut: within the log's header; at every end of a frame; and of every frame within its header, in
    /// the middle, with its last byte garbled, with its second half garbled, and with all of it garbled.
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let at = |whole, torn| Cut { whole, torn };
        let mut cuts = vec![at(0, 0), at(HEADER / 2, 0), at(HEADER, 0)];
        let mut start = HEADER;
        for end in &self.ends {
            let half = (end - start) / 2;
            cuts.extend([
                at(start + 12, 0),
                at(start + half, 0),
                at(end - 1, 1),
                at(start + half, half),
                at(start, end - start),
            ]);
            cuts.push(at(*end, 0));
            start = *end;
        }
        cuts
    }

    /// Returns the bytes on the disk after a cut.
    pub(crate) fn left(&self, cut: Cut) -> Vec<u8> {
        let mut left = self.bytes[..cut.whole].to_vec();
        left.extend(self.bytes[cut.whole..cut.whole + cut.torn].iter().map(|byte| byte ^ 0x5a));
        left
    }
}
