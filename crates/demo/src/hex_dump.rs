//! Bytes for people: offset, hex, and the characters among them.

use std::fmt::Write;

/// Columns of the offset with the blanks behind it.
const OFFSET_COLUMNS: usize = 6;

/// The first `rows` rows of a dump that fits `columns`. Each row has as many bytes as fit, a multiple of 8 (of 4 where it
/// is narrow); the characters are left out where only then 8 bytes fit.
pub fn hex_dump(bytes: &[u8], columns: usize, rows: usize) -> Vec<String> {
    let (per_row, characters) = layout(columns);
    bytes
        .chunks(per_row)
        .take(rows)
        .enumerate()
        .map(|(number, chunk)| row(number * per_row, chunk, per_row, characters))
        .collect()
}

/// How many bytes stand in a row, and whether their characters stand beside them.
pub fn layout(columns: usize) -> (usize, bool) {
    let hex = |bytes: usize| OFFSET_COLUMNS + bytes * 3 - 1;
    let both = |bytes: usize| hex(bytes) + 2 + bytes;
    [(16, true), (8, true), (8, false), (4, false)]
        .into_iter()
        .find(|(bytes, characters)| columns >= if *characters { both(*bytes) } else { hex(*bytes) })
        .unwrap_or((4, false))
}

fn row(offset: usize, chunk: &[u8], per_row: usize, characters: bool) -> String {
    let mut out = format!("{offset:04x}  ");
    for (index, byte) in chunk.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(out, "{}{byte:02x}", if index == 0 { "" } else { " " });
    }
    if characters {
        out.push_str(&"   ".repeat(per_row - chunk.len()));
        out.push_str("  ");
        out.extend(chunk.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fit_the_width() {
        let bytes: Vec<u8> = (0..=255).collect();
        for columns in 17..160 {
            for line in hex_dump(&bytes, columns, 40) {
                assert!(line.len() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn wide_and_narrow() {
        let bytes = b"Kuvert\x00\xffabc";
        assert_eq!(
            hex_dump(bytes, 80, 9),
            ["0000  4b 75 76 65 72 74 00 ff 61 62 63                 Kuvert..abc".to_owned()]
        );
        assert_eq!(hex_dump(bytes, 40, 9)[1], "0008  61 62 63                 abc");
        assert_eq!(hex_dump(bytes, 30, 9), ["0000  4b 75 76 65 72 74 00 ff", "0008  61 62 63"]);
        assert_eq!(hex_dump(bytes, 30, 1).len(), 1);
    }
}
