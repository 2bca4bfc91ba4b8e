//! Comma-separated values as address books are exported (RFC 4180), and as people write them by hand.

use std::mem;

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

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first character of a cell.
    Start,
    /// In a cell, or behind the part of it that is in quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// Behind a quote within quotes: the next character says whether it ends them.
    Quote,
}

/// The records of a text. Lines without anything are left out. Quotes that are never closed end with the text.
pub fn records(text: &str) -> Vec<Record> {
    let (mut records, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut place, mut line, mut begun) = (Place::Start, 1, 1);
    for c in text.trim_start_matches(BYTE_ORDER_MARK).chars() {
        place = match (place, c) {
            (Place::Start, '"') => Place::Quoted,
            (Place::Quoted, '"') => Place::Quote,
            (Place::Quote, '"') => {
                cell.push('"');
                Place::Quoted
            }
            (Place::Quoted, _) => {
                cell.push(c);
                Place::Quoted
            }
            (_, ',') => {
                cells.push(trimmed(&mut cell));
                Place::Start
            }
            (_, '\n' | '\r') => {
                if place != Place::Start || !cells.is_empty() {
                    cells.push(trimmed(&mut cell));
                    records.push(Record { line: begun, cells: mem::take(&mut cells) });
                }
                Place::Start
            }
            (_, _) => {
                cell.push(c);
                Place::Plain
            }
        };
        line += u64::from(c == '\n');
        if place == Place::Start && cells.is_empty() {
            begun = line;
        }
    }
    if place != Place::Start || !cells.is_empty() {
        cells.push(trimmed(&mut cell));
        records.push(Record { line: begun, cells });
    }
    records
}

fn trimmed(cell: &mut String) -> String {
    mem::take(cell).trim().to_owned()
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
