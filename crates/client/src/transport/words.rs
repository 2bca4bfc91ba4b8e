//! What is printed of a relay's words, and of how a connection ended.

use quinn::ConnectionError;

/// Characters of a relay's words that are printed at most.
const MAX_CHARS: usize = 200;

/// Words of a relay for people, made safe to print: one line, bounded.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

/// Why a connection ended, for people.
pub fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let words = printable(&String::from_utf8_lossy(&close.reason));
            if words.is_empty() { "the relay closed it".to_owned() } else { format!("the relay closed it: {words}") }
        }
        ConnectionError::TimedOut => "the relay fell silent".to_owned(),
        ConnectionError::Reset => "the relay was restarted".to_owned(),
        other => printable(&other.to_string()),
    }
}
