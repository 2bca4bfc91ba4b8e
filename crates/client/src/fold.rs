//! When two texts are the same to a person: one rule for the search in a history and for the names of contacts.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;

/// The dot that stays behind when an upper-case `İ` becomes an `i`, which has one already.
const DOT_ABOVE: char = '\u{0307}';

/// Brings a text to the form in which texts are compared: upper and lower case alike (`ß` and `SS`, the three sigmas, `İ` and
/// `i`), composed and decomposed letters alike, without characters that leave no trace.
///
/// Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), with two additions: the dot above an `i`
/// and characters that leave no trace go.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut last = None;
    let seen = text.nfd().default_case_fold().nfd().filter(|c| {
        let goes = is_ignorable(*c) || (*c == DOT_ABOVE && last == Some('i'));
        if !goes {
            last = Some(*c);
        }
        !goes
    });
    // Composed: an `e` is not found within an `é`.
    seen.nfc().collect()
}

/// Whether nothing of a text can be seen: it is empty, or made of blanks, control characters and characters without a trace.
pub fn is_invisible(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || is_ignorable(c) || is_empty_glyph(c))
}

/// Unicode's property `Default_Ignorable_Code_Point`: what is not drawn where it is not supported. The ranges include what is
/// unassigned, so that they do not change with Unicode's version.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Characters of their own whose picture is empty: the Braille pattern without a dot, the Khitan filler, the musical null
/// notehead.
fn is_empty_glyph(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{16FE4}' | '\u{1D159}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_takes_for_the_same_is_the_same() {
        for (one, other) in [
            ("Große Straße", "GROSSE STRASSE"),
            ("straße", "STRAẞE"),
            ("İstanbul", "istanbul"),
            ("İSTANBUL", "i\u{307}stanbul"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("ΟΔΟΣ", "οδος"),
            ("οδοσ", "οδος"),
            ("\u{fb01}x", "FIX"),
            ("\u{212b}ngstrom", "a\u{30a}ngstrom"),
            ("so\u{ad}ft", "SOFT"),
            ("bob\u{200b}", "Bob"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        for (one, other) in [("cafe", "caf\u{e9}"), ("ı", "i"), ("a", "b"), ("e", "e\u{301}")] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
            assert!(!fold(other).contains(&fold(one)), "{one} {other}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing_more() {
        for c in '\0'..=char::MAX {
            let once = fold(&format!("i{c}\u{301}\u{307}"));
            assert_eq!(fold(&once), once, "{c:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_text() {
        for nothing in
            ["", " \n\t", "\u{200b}", "\u{2060}", "\u{feff}", "\u{3164}", "\u{2800}", "\u{ad}", "\u{e0020}", "\u{0}"]
        {
            assert!(is_invisible(nothing), "{nothing:?}");
        }
        for something in ["a", "\u{200b}.", "👩\u{200d}👧", "\u{301}", "\u{fffd}"] {
            assert!(!is_invisible(something), "{something:?}");
        }
    }
}
