//! Lines out of the chunks of a stream.

use bytes::{Bytes, BytesMut};

/// A line at most, bytes; an event is around one thousand.
const LINE_MAX: usize = 1 << 20;

/// Collects chunks and gives out whole lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line feed.
    searched: usize,
}

/// A line is longer than any event can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has a line of more than 1 MiB; is this a netobs daemon?")]
pub struct TooLong;

impl Lines {
    /// Adds a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line, without its line feed.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(offset) => {
                let mut line = self.buffer.split_to(self.searched + offset + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                Ok(Some(line.freeze()))
            }
            None if self.buffer.len() > LINE_MAX => Err(TooLong),
            None => {
                self.searched = self.buffer.len();
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LINE_MAX]);
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next_line(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn however_it_is_cut(text in "[ab\n]{0,60}", cut in 1_usize..10) {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for chunk in text.as_bytes().chunks(cut) {
                lines.push(chunk);
                while let Some(line) = lines.next_line().unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            let mut expected: Vec<_> = text.split('\n').map(str::to_owned).collect();
            expected.pop();
            prop_assert_eq!(found, expected);
        }
    }
}
