//! Text that another person or the relay wrote, made safe for a terminal: no escape sequence, no carriage return that
//! overwrites what stands before it, no direction override that makes a text read differently from what it is, and no
//! character that is there without being seen.
//!
//! | characters | shown as |
//! |---|---|
//! | line feed in a text | a line break |
//! | tab | four blanks |
//! | control characters | Unicode's picture of them, `␛`, or `U+FFFD` where there is none |
//! | bidirectional embeddings, overrides, isolates; line and paragraph separators; annotations | `U+FFFD` |
//! | every other character that leaves no trace: format characters, fillers, variation selectors, tags, unassigned and private ones | `‹U+200B›` |
//! | joiners and variation selectors within an emoji; joiners between letters of a script that needs them | as they are |

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use finl_unicode::categories::CharacterCategories as _;

/// What an invisible character is shown between.
pub const MARKS: [char; 2] = ['‹', '›'];

/// Blanks side by side that a text keeps where its lines are not laid out for a terminal: enough for a table, too few to push
/// what follows into a line of its own.
pub const MAX_BLANKS: usize = 8;

const ZWNJ: char = '\u{200C}';
const ZWJ: char = '\u{200D}';
const TEXT_STYLE: char = '\u{FE0E}';
const EMOJI_STYLE: char = '\u{FE0F}';
const KEYCAP: char = '\u{20E3}';

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

/// Says how many blanks stood where more than [`MAX_BLANKS`] do, for output whose width is decided elsewhere: blanks that fill
/// up a terminal's line put what follows at the beginning of the next one.
pub fn shorten_blanks(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, end, count)) = long_run(rest) {
        out.push_str(&rest[..start]);
        out.push_str(&format!("{}{count} blanks{}", MARKS[0], MARKS[1]));
        rest = &rest[end..];
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Begin, end and length of the first run of too many blanks.
fn long_run(text: &str) -> Option<(usize, usize, usize)> {
    let (mut start, mut count) = (0, 0);
    let ends = text.char_indices().map(|(at, c)| (at, is_blank(c))).chain([(text.len(), false)]);
    for (at, blank) in ends {
        match (blank, count) {
            (true, 0) => (start, count) = (at, 1),
            (true, _) => count += 1,
            (false, count) if count > MAX_BLANKS => return Some((start, at, count)),
            (false, _) => count = 0,
        }
    }
    None
}

/// Blank on a screen: also the Braille pattern without a dot.
fn is_blank(c: char) -> bool {
    c != '\n' && (c.is_whitespace() || c == '\u{2800}')
}

fn replace(text: &str, line_feeds: bool) -> Cow<'_, str> {
    let stays = |c: char| (!is_harmful(c) && !is_unseen(c)) || (line_feeds && c == '\n');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    // CR LF is one line break that other systems write.
    let unified = text.replace("\r\n", "\n");
    let mut chars = unified.chars().peekable();
    // The character before, and the one before that only changes how it looks.
    let (mut last, mut base) = (None, None);
    while let Some(c) = chars.next() {
        match c {
            '\n' if line_feeds => out.push('\n'),
            '\t' => out.push_str("    "),
            c if is_harmful(c) => out.push(visible(c)),
            c if is_unseen(c) && (last == Some(EMOJI_STYLE) && c != ZWJ || !has_a_part(base, c, &mut chars)) => {
                out.push_str(&format!("{}U+{:04X}{}", MARKS[0], u32::from(c), MARKS[1]));
            }
            c => out.push(c),
        }
        if !is_skin_tone(c) && c != EMOJI_STYLE {
            base = Some(c);
        }
        last = Some(c);
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

/// A character that stands in a text without being seen in it.
fn is_unseen(c: char) -> bool {
    if c.is_ascii() || is_prepended_sign(c) {
        return false;
    }
    c.is_format()
        || c.is_private_use()
        || c.is_unassigned()
        || matches!(c,
            '\u{034F}'                                          // combining grapheme joiner
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // Hangul fillers
            | '\u{17B4}' | '\u{17B5}'                           // Khmer inherent vowels
            | '\u{180B}'..='\u{180F}'                           // Mongolian variation selectors
            | '\u{FE00}'..='\u{FE0F}'                           // variation selectors
            | '\u{E0000}'..='\u{E0FFF}') // tags, and more variation selectors
}

/// Signs of Arabic, Syriac and Kaithi that Unicode counts as format characters, and that are seen around the digits after them.
fn is_prepended_sign(c: char) -> bool {
    matches!(
        c,
        '\u{0600}'
            ..='\u{0605}' | '\u{06DD}' | '\u{070F}' | '\u{0890}' | '\u{0891}' | '\u{08E2}' | '\u{110BD}' | '\u{110CD}'
    )
}

/// Whether an unseen character changes what is seen of its neighbours, as its script or an emoji needs it.
fn has_a_part(before: Option<char>, c: char, after: &mut Peekable<Chars<'_>>) -> bool {
    let Some(before) = before else { return false };
    let after = after.peek().copied();
    match c {
        EMOJI_STYLE | TEXT_STYLE if before.is_ascii_digit() || matches!(before, '#' | '*') => after == Some(KEYCAP),
        EMOJI_STYLE | TEXT_STYLE => is_pictograph(before),
        ZWJ if is_pictograph(before) => after.is_some_and(is_pictograph),
        ZWJ | ZWNJ => is_joining(before) && after.is_some_and(is_joining),
        _ => false,
    }
}

/// A symbol that emoji are made of.
fn is_pictograph(c: char) -> bool {
    let symbols = matches!(c, '\u{A9}' | '\u{AE}' | '\u{2100}'..='\u{214F}' | '\u{2190}'..='\u{21FF}'
        | '\u{2300}'..='\u{23FF}' | '\u{24C2}' | '\u{25A0}'..='\u{27BF}' | '\u{2900}'..='\u{297F}'
        | '\u{2B00}'..='\u{2BFF}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}');
    (symbols && c.is_symbol()) || matches!(c, '\u{203C}' | '\u{2049}' | '\u{3030}' | '\u{303D}')
}

fn is_skin_tone(c: char) -> bool {
    matches!(c, '\u{1F3FB}'..='\u{1F3FF}')
}

/// A letter or mark of a script whose letters join: the joiners say how.
fn is_joining(c: char) -> bool {
    c.is_letter_or_mark()
        && matches!(c,
            '\u{0600}'..='\u{08FF}'     // Arabic, Syriac, Thaana, NKo, Mandaic
            | '\u{0900}'..='\u{0DFF}'   // the scripts of India, and Sinhala
            | '\u{0F00}'..='\u{109F}'   // Tibetan, Burmese
            | '\u{1780}'..='\u{18AF}'   // Khmer, Mongolian
            | '\u{A840}'..='\u{ABFF}'
            | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}'
            | '\u{10A00}'..='\u{10FFF}' | '\u{11000}'..='\u{11FFF}')
}

/// Whether a character belongs to a script that is written from right to left, and so moves what stands beside it.
pub fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}'
        | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
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
        for text_ in ["", "hi", "zwei\nZeilen", "Grüße, Łódź, 東京, e\u{301}", "мир ١٢٣ שלום \u{0601}", "1️⃣ ❤️ 👍🏽"]
        {
            assert_eq!(text(text_), text_);
        }
    }

    #[test]
    fn joiners_stay_where_an_emoji_or_a_script_needs_them() {
        let needed = [
            "👩‍👩‍👧 👩🏽‍🚀 🏳️‍🌈 ❤️‍🔥 ✉️ ☎︎ *️⃣",
            "می\u{200C}خواهم", // Persian: a word with an inner end
            "क्\u{200D}ष श्री",  // Devanagari: a half form
            "ශ්\u{200D}රී",      // Sinhala
        ];
        for text_ in needed {
            assert_eq!(text(text_), text_, "{text_}");
        }
        // At the ends, between Latin letters, twice, and behind what is no emoji they hide.
        for (hidden, shown) in [
            ("a\u{200D}b", "a‹U+200D›b"),
            ("a\u{200C}b", "a‹U+200C›b"),
            ("می\u{200C}", "می‹U+200C›"),
            ("👩\u{200D}", "👩‹U+200D›"),
            ("می\u{200C}\u{200C}خواهم", "می‹U+200C›‹U+200C›خواهم"),
            ("a\u{FE0F}", "a‹U+FE0F›"),
            ("1\u{FE0F}", "1‹U+FE0F›"),
            ("❤\u{FE0F}\u{FE0F}\u{FE0E}", "❤\u{FE0F}‹U+FE0F›‹U+FE0E›"),
            ("漢\u{E0100}", "漢‹U+E0100›"),
        ] {
            assert_eq!(text(hidden), shown);
            assert_eq!(line(hidden), shown);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        let hidden = "\u{AD}\u{34F}\u{61C}\u{115F}\u{1160}\u{180E}\u{200B}\u{200E}\u{200F}\u{2060}\u{2064}\u{3164}\u{E000}\
             \u{FEFF}\u{FFA0}\u{378}\u{E0001}\u{E0041}\u{E007F}\u{F0000}\u{10FFFD}";
        for c in hidden.chars() {
            assert_eq!(text(&format!("a{c}b")), format!("a‹U+{:04X}›b", u32::from(c)));
        }
    }

    #[test]
    fn many_blanks_become_their_number() {
        assert_eq!(shorten_blanks("a        b"), "a        b");
        assert_eq!(shorten_blanks("a         b"), "a‹9 blanks›b");
        assert_eq!(shorten_blanks(&format!("{0}x{0}", "\u{3000}\u{2800}".repeat(5))), "‹10 blanks›x‹10 blanks›");
        assert_eq!(shorten_blanks("     \n     "), "     \n     ");
    }

    #[test]
    fn json_keeps_its_value_and_loses_what_a_terminal_acts_on() {
        let text = "a\u{9b}31m\u{7f}\u{202E}\u{1b}\n\"\\東\u{200B}";
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
            all.push('x');
        }
        assert!(text(&all).chars().all(|c| c == '\n' || (!c.is_control() && !is_unseen(c))));
        assert!(line(&all).chars().all(|c| !c.is_control() && !is_unseen(c)));
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
