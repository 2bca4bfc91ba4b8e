//! Names of files: what a sender wrote becomes a name that can stand in a directory and be shown. Whatever it says, it is one component of a path,
//! no hidden file, and nothing that moves a cursor or turns a line around.

use std::path::Path;

/// Bytes of a name here. File systems take 255; the rest is for a number before the extension.
const MAX_BYTES: usize = 200;

/// Bytes of an extension that is kept when a name is shortened.
const MAX_EXTENSION: usize = 16;

/// Names that other systems take for devices.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A name that is safe on this machine, made of what a sender wrote.
pub(crate) fn safe(name: &str) -> String {
    let cleaned: String = name.chars().filter_map(clean).collect();
    let trimmed = cleaned.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let mut safe = shorten(trimmed);
    if safe.is_empty() {
        return "file".to_owned();
    }
    if safe.starts_with('-') || is_reserved(&safe) {
        safe.insert(0, '_');
    }
    safe
}

/// The name of a file that is sent, as it is told.
pub(crate) fn of(path: &Path) -> String {
    path.file_name().map_or_else(|| "file".to_owned(), |name| safe(&name.to_string_lossy()))
}

/// The same name with a number, for one that is taken.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    match split(name) {
        (stem, Some(extension)) => format!("{stem} ({number}).{extension}"),
        (stem, None) => format!("{stem} ({number})"),
    }
}

/// What a character becomes; nothing, if it is not seen.
fn clean(c: char) -> Option<char> {
    match c {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => Some('_'),
        // Marks that change the direction of writing, and what has no width: a name could be shown as another one.
        '\u{61C}'
        | '\u{180E}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E0FFF}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= MAX_EXTENSION => (stem, Some(extension)),
        _ => (name, None),
    }
}

fn shorten(name: &str) -> String {
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    let room = MAX_BYTES - extension.map_or(0, |extension| extension.len() + 1);
    let end = stem.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last().unwrap_or(0);
    extension.map_or_else(|| stem[..end].to_owned(), |extension| format!("{}.{extension}", &stem[..end]))
}

fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.chars().all(|c| c.is_ascii_digit()))
    };
    RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt")
}

/// The media type that a name's extension says.
pub(crate) fn media_type(name: &str) -> &'static str {
    let extension = split(name).1.unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "heic" => "image/heic",
        "avif" => "image/avif",
        "tif" | "tiff" => "image/tiff",
        "pdf" => "application/pdf",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "m4a" => "audio/mp4",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "odt" => "application/vnd.oasis.opendocument.text",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_directory_hides_or_reads_as_another() {
        for (told, here) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("/", "_"),
            (".bashrc", "bashrc"),
            ("a\0b\n\u{1b}[2Jc", "ab[2Jc"),
            ("invoice\u{202E}gpj.exe", "invoicegpj.exe"),
            ("C:\\Windows\\x.txt", "C__Windows_x.txt"),
            ("-rf", "_-rf"),
            ("NUL.txt", "_NUL.txt"),
            ("com1", "_com1"),
            ("\u{200B}\u{2066}", "file"),
            ("  sp ace. ", "sp ace"),
            ("Grüße 🎉.png", "Grüße 🎉.png"),
        ] {
            assert_eq!(safe(told), here, "{told:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
        for told in [format!("{}.jpeg", "ü".repeat(150)), "x".repeat(300), format!("a.{}", "b".repeat(300))] {
            let safe = safe(&told);
            assert!(safe.len() <= MAX_BYTES && !safe.is_empty(), "{safe}");
        }
        assert!(safe(&format!("{}.jpeg", "ü".repeat(150))).ends_with("ü.jpeg"));
    }

    #[test]
    fn a_taken_name_gets_a_number_before_its_extension() {
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
        assert_eq!(numbered("README", 2), "README (2)");
    }

    #[test]
    fn media_types_have_the_one_spelling() {
        for name in ["a.JPG", "b.odt", "c", "d.docx", "e.svg"] {
            assert!(kuvert_wire::attachment::is_media_type(media_type(name)), "{name}");
        }
    }
}
