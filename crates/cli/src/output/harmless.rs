//! Text that somebody else wrote, made safe for a terminal: no escape sequence, no carriage return that overwrites what
//! stands before it, no direction override that makes a text read differently from what it is.

use std::borrow::Cow;

/// Makes a text of several lines harmless: line feeds stay, tabs become four spaces.
pub fn text(text: &str) -> Cow<'_, str> {
    replace(text, true)
}

/// Makes a text harmless that has to stay on one line: a name, an alias.
pub fn line(text: &str) -> Cow<'_, str> {
    replace(text, false)
}

/// Writes the harmful characters of a JSON text as escapes. JSON itself does so with those below U+0020 only, and a terminal
/// acts on others, too. Outside ASCII there is nothing but strings, so that the value stays the same.
pub fn json(json: String) -> String {
    if json.chars().all(|c| !is_harmful(c)) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if is_harmful(c) {
            // All of them are in the basic plane: one escape each.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn replace(text: &str, line_feeds: bool) -> Cow<'_, str> {
    if text.chars().all(|c| !is_harmful(c) || (line_feeds && c == '\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    // CR LF is one line break that other systems write.
    let unified = text.replace("\r\n", "\n");
    for c in unified.chars() {
        match c {
            '\n' if line_feeds => out.push('\n'),
            '\t' => out.push_str("    "),
            c if !is_harmful(c) => out.push(c),
            c => out.push(visible(c)),
        }
    }
    Cow::Owned(out)
}

/// A character that a terminal acts on instead of showing it, or that changes how its neighbours are shown.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'  // embeddings, overrides, isolates
            | '\u{2028}' | '\u{2029}'                            // line and paragraph separator
            | '\u{FFF9}'..='\u{FFFB}') // annotations
}

/// What is shown in place of a harmful character: Unicode's picture of it where there is one.
fn visible(c: char) -> char {
    match c {
        '\0'..='\x1F' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\x7F' => '\u{2421}',
        _ => '\u{FFFD}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_touched() {
        for text_ in ["", "hi", "zwei\nZeilen", "Grüße, Łódź, 東京, 👩‍👩‍👧, e\u{301}"] {
            assert!(matches!(text(text_), Cow::Borrowed(same) if same == text_));
        }
    }

    #[test]
    fn json_keeps_its_value_and_loses_what_a_terminal_acts_on() {
        let text = "a\u{9b}31m\u{7f}\u{202E}\u{1b}\n\"\\東";
        let written = json(serde_json::to_string(text).unwrap());
        assert!(written.chars().all(|c| !is_harmful(c)), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        assert!(written.contains('東'));
    }

    #[test]
    fn no_control_character_survives() {
        let mut all = String::new();
        for c in (0..=0x10FFFF).filter_map(char::from_u32) {
            all.push(c);
        }
        assert!(text(&all).chars().all(|c| c == '\n' || !c.is_control()));
        assert!(line(&all).chars().all(|c| !c.is_control()));
    }

    #[test]
    fn escape_sequences_are_shown_instead_of_obeyed() {
        assert_eq!(text("\x1b[2J\x1b]0;owned\x07"), "␛[2J␛]0;owned␇");
        assert_eq!(text("\u{9b}31m"), "\u{FFFD}31m");
        assert_eq!(text("secret\rharmless"), "secret␍harmless");
        assert_eq!(text("a\r\nb\tc"), "a\nb    c");
        assert_eq!(line("a\nb"), "a␊b");
        assert_eq!(text("pay \u{202E}001"), "pay \u{FFFD}001");
    }
}
