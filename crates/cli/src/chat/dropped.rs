//! Paths as people type them and as terminals paste what is dropped on them.
//!
//! ```text
//! /home/bob/a\ photo.jpg          as a shell would have it
//! '/home/bob/a photo.jpg'         quoted; several behind each other
//! file:///home/bob/a%20photo.jpg  an address
//! ~/a photo.jpg                   typed, or copied as it is
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// What is longer is text.
const MAX_PASTED_BYTES: usize = 16 * 1024;

/// Files that are sent with one message at most.
const MAX_FILES: usize = kuvert_client::MAX_ATTACHMENTS;

/// The path that was typed behind a command: quoted, as a shell would have it, an address, or as it is.
pub fn typed(text: &str, home: Option<&Path>) -> PathBuf {
    let text = text.trim();
    match words(text).as_deref() {
        Some([word]) => path(word, home),
        // Blanks that are in the name.
        _ => path(text, home),
    }
}

/// The files that a pasted text names and nothing else, if it does: each by a path from the root, from one's home directory, or as an address, and each
/// `there`. A word that happens to be a file's name in the working directory stays a word.
pub fn dropped(text: &str, home: Option<&Path>, there: impl Fn(&Path) -> bool) -> Option<Vec<PathBuf>> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_PASTED_BYTES {
        return None;
    }
    let named = |word: &str| {
        let path = path(word, home);
        (path.is_absolute() && there(&path)).then_some(path)
    };
    // Pasted as it is: its blanks are its name's.
    if !text.contains('\n')
        && let Some(one) = named(text)
    {
        return Some(vec![one]);
    }
    let words = words(text)?;
    if words.len() > MAX_FILES {
        return None;
    }
    words.iter().map(|word| named(word)).collect()
}

fn path(word: &str, home: Option<&Path>) -> PathBuf {
    if let Some(address) = word.strip_prefix("file://") {
        // The machine's name, if there is one, ends where the path begins.
        let from_the_root = address.find('/').map_or("", |at| address.get(at..).unwrap_or_default());
        return PathBuf::from(OsString::from_vec(percent_decoded(from_the_root)));
    }
    match (word.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                // Two digits are a byte.
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    out
}

/// The words of a line as a shell splits them, without what else a shell does; `None`: a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Option<&'static Path> {
        Some(Path::new("/home/bob"))
    }

    #[test]
    fn a_path_is_read_however_it_was_typed() {
        for text in ["a photo.jpg", "'a photo.jpg'", "\"a photo.jpg\"", "a\\ photo.jpg", " a photo.jpg "] {
            assert_eq!(typed(text, home()), Path::new("a photo.jpg"), "{text}");
        }
        assert_eq!(typed("~/a", home()), Path::new("/home/bob/a"));
        assert_eq!(typed("~/a", None), Path::new("~/a"));
        assert_eq!(typed("it's", home()), Path::new("it's"), "a quote that is not closed is the name's");
        assert_eq!(typed("file:///tmp/a%20%C3%BC%", home()), Path::new("/tmp/a ü%"));
        assert_eq!(typed("file://machine/tmp/a", home()), Path::new("/tmp/a"));
    }

    #[test]
    fn what_is_pasted_is_files_only_if_all_of_it_names_files_that_are_there() {
        let there = |path: &Path| ["/tmp/a b", "/tmp/c", "/home/bob/d", "README"].iter().any(|p| path == Path::new(p));
        let dropped = |text: &str| dropped(text, home(), there).map(|paths| paths.len());
        assert_eq!(dropped("/tmp/a b"), Some(1));
        assert_eq!(dropped("/tmp/a\\ b "), Some(1));
        assert_eq!(dropped("'/tmp/a b' '/tmp/c'"), Some(2));
        assert_eq!(dropped("/tmp/c\n/home/bob/d\n"), Some(2));
        assert_eq!(dropped("file:///tmp/a%20b\nfile:///tmp/c"), Some(2));
        assert_eq!(dropped("~/d"), Some(1));
        for text in ["", " ", "README", "/tmp/none", "/tmp/c and more", "look: /tmp/c", "it's /tmp/c", "file://", "%"] {
            assert_eq!(dropped(text), None, "{text}");
        }
        assert_eq!(dropped(&"/tmp/c ".repeat(MAX_FILES)), Some(MAX_FILES));
        assert_eq!(dropped(&"/tmp/c ".repeat(MAX_FILES + 1)), None, "more than one message has");
    }
}
