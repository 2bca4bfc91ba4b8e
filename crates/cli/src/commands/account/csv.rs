//! Comma-separated values as address books are exported (RFC 4180), and as people write them by hand.

use csv_core::{ReadRecordResult, Reader};

/// What may stand at the beginning of a file and says nothing here.
const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// A record. Records need not have the same number of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line that it begins in, from 1.
    pub line: u64,
    /// Without the blanks around them.
    pub cells: Vec<String>,
}

/// The records of a text. Lines without anything are left out. Quotes that are never closed end with the text.
pub fn records(text: &str) -> Vec<Record> {
    let mut rest = text.trim_start_matches(BYTE_ORDER_MARK).as_bytes();
    // No record has more bytes than the text, nor more cells than it has bytes and one.
    let (mut bytes, mut ends) = (vec![0; rest.len()], vec![0; rest.len() + 1]);
    let (mut records, mut reader, mut line) = (Vec::new(), Reader::new(), 1);
    loop {
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let begun = line + lines(&rest[..empty]);
        let (mut wrote, mut cells) = (0, 0);
        loop {
            let (result, read, out, end) = reader.read_record(rest, &mut bytes[wrote..], &mut ends[cells..]);
            line += lines(&rest[..read]);
            rest = &rest[read..];
            (wrote, cells) = (wrote + out, cells + end);
            match result {
                // Asked once more with nothing left, it gives what it has.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                // There is room for everything.
                ReadRecordResult::End | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return records;
                }
            }
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let cell = |(from, to): (usize, usize)| String::from_utf8_lossy(&bytes[from..to]).trim().to_owned();
        records.push(Record { line: begun, cells: starts.zip(ends[..cells].iter().copied()).map(cell).collect() });
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, Vec<String>)> {
        records(text).into_iter().map(|record| (record.line, record.cells)).collect()
    }

    #[test]
    fn quotes_hold_commas_quotes_and_lines() {
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n\n", vec![]),
            ("a,b\nc", vec![(1, cells(&["a", "b"])), (2, cells(&["c"]))]),
            ("\u{FEFF}a, b ,\r\n", vec![(1, cells(&["a", "b", ""]))]),
            ("\"a,b\",\"say \"\"hi\"\"\"\n", vec![(1, cells(&["a,b", "say \"hi\""]))]),
            ("\"two\nlines\",x\ny\n", vec![(1, cells(&["two\nlines", "x"])), (3, cells(&["y"]))]),
            ("\n\na\n", vec![(3, cells(&["a"]))]),
            ("\"\"\n", vec![(1, cells(&[""]))]),
            ("a\"b,\"c\"d\n", vec![(1, cells(&["a\"b", "cd"]))]),
            ("\"never closed,\n", vec![(1, cells(&["never closed,"]))]),
            (",\n", vec![(1, cells(&["", ""]))]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
