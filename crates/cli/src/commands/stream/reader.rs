//! Lines of stdin as texts, read on a thread of its own: a read cannot be cancelled, and must not keep the program from ending.

use std::io::{self, BufRead};

use kuvert_client::Error;
use kuvert_types::limits::MAX_TEXT_BYTES;
use tokio::sync::mpsc;

use crate::error::Failure;

/// Lines that are read ahead of the relay.
pub const LINES_AHEAD: usize = 64;

/// Bytes that are kept of one text: enough to say how much too long it is, and a bound on memory.
pub const MAX_READ_BYTES: u64 = 16 * MAX_TEXT_BYTES as u64;

/// A line of stdin.
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Without its end; or why it is no text.
    pub text: Result<String, Error>,
}

/// Reads stdin. An error of reading is the last that comes.
pub fn read_lines() -> mpsc::Receiver<Result<Line, Failure>> {
    let (send, receive) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        for number in 1.. {
            let line = match read_line(&mut stdin) {
                Ok(None) => return,
                Ok(Some(text)) => Ok(Line { number, text }),
                Err(error) => Err(Failure::io("read stdin", &error)),
            };
            let last = line.is_err();
            if send.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receive
}

/// The next line, or none at the end. Of one that is too long the rest is read, too, and forgotten: it is no line of its own.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, Error>>> {
    let mut line = Vec::new();
    let mut length: u64 = 0;
    loop {
        let at_hand = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            at_hand => at_hand?,
        };
        if at_hand.is_empty() {
            break;
        }
        let end = at_hand.iter().position(|byte| *byte == b'\n');
        let part = &at_hand[..end.map_or(at_hand.len(), |end| end + 1)];
        // Beyond the bound only the length counts.
        if line.len() <= MAX_TEXT_BYTES + b"\r\n".len() {
            line.extend_from_slice(part);
        }
        length += part.len() as u64;
        let read = part.len();
        input.consume(read);
        if end.is_some() {
            break;
        }
    }
    if length == 0 {
        return Ok(None);
    }
    if length > line.len() as u64 {
        return Ok(Some(Err(Error::TextTooLong { bytes: usize::try_from(length).unwrap_or(usize::MAX) })));
    }
    Ok(Some(decode(line)))
}

/// UTF-8 without the line feed that ends what `echo` or a terminal writes.
///
/// # Errors
/// `text-too-long`, `text-not-utf8`.
pub fn decode(mut bytes: Vec<u8>) -> Result<String, Error> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.len() > MAX_TEXT_BYTES {
        // Said before UTF-8 is looked at: what was read may end within a character.
        return Err(Error::TextTooLong { bytes: bytes.len() });
    }
    String::from_utf8(bytes).map_err(|_| Error::TextNotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_feed_at_the_end_is_the_shells() {
        assert_eq!(decode(b"hi\n".to_vec()).unwrap(), "hi");
        assert_eq!(decode(b"hi\r\n".to_vec()).unwrap(), "hi");
        assert_eq!(decode(b"hi\n\n".to_vec()).unwrap(), "hi\n");
        assert_eq!(decode(b"".to_vec()).unwrap(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(matches!(decode(vec![b'a', 0xFF]), Err(Error::TextNotUtf8)));
    }

    #[test]
    fn a_line_of_any_length_is_one_line_and_the_next_one_is_read() {
        for length in [MAX_TEXT_BYTES, MAX_TEXT_BYTES + 1, 40 * MAX_TEXT_BYTES] {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\r\nnext\nlast");
            // A small buffer: a line comes in many parts.
            let mut input = io::BufReader::with_capacity(1000, &input[..]);
            let first = read_line(&mut input).unwrap().unwrap();
            match first {
                Ok(text) => assert_eq!((text.len(), length), (MAX_TEXT_BYTES, MAX_TEXT_BYTES)),
                Err(error) => assert_eq!((error.code(), length > MAX_TEXT_BYTES), ("text-too-long", true)),
            }
            assert_eq!(read_line(&mut input).unwrap().unwrap().unwrap(), "next");
            assert_eq!(read_line(&mut input).unwrap().unwrap().unwrap(), "last");
            assert!(read_line(&mut input).unwrap().is_none());
        }
    }
}
