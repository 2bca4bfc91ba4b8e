//! What stands on the two clients' screens, for the columns beside the relay's: JSON lines as `kuvert --json history` and
//! `kuvert --json receive` print them.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// One side's column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Column {
    /// Whose.
    pub name: String,
    /// In the order of the file.
    pub messages: Vec<Message>,
}

/// A message in the clear, as it stands on a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub from: String,
    /// The words.
    pub text: String,
    /// Unix milliseconds.
    pub sent_at: u64,
    /// `in` or `out`.
    #[serde(default)]
    pub direction: Option<String>,
}

/// Reads a column; what is no message is passed over, and a file that is not there yet is an empty column.
pub fn read(name: &str, path: &Path) -> Column {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Column { name: name.to_owned(), messages }
}
