//! What is known of the last time that a data directory was served: `DATA/serving.toml`.

use std::fs;
use std::io;
use std::path::Path;

use kuvert_relay::whole_file;
use serde::{Deserialize, Serialize};

use crate::SERVING_FILE;

/// How a directory was served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Serving {
    /// Days that undelivered envelopes are kept.
    pub retention_days: u32,
    /// The relay's address: its key must stay.
    pub address: Option<String>,
    /// Whether the demonstration ran.
    #[serde(default)]
    pub demonstration: bool,
    /// Where the relay says that it stands: its operator's label.
    pub region: Option<String>,
}

impl Serving {
    /// Notes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&self, data: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        whole_file::write(&data.join(SERVING_FILE), text.as_bytes(), whole_file::READABLE)
    }
}

/// How this directory was served last, if that is known.
pub fn last(data: &Path) -> Option<Serving> {
    toml::from_str(&fs::read_to_string(data.join(SERVING_FILE)).ok()?).ok()
}

/// The retention of the relay that served this directory last.
pub fn last_retention(data: &Path) -> Option<u32> {
    Some(last(data)?.retention_days)
}

/// Whether the relay that served this directory last ran the demonstration.
pub fn last_demonstration(data: &Path) -> bool {
    last(data).is_some_and(|serving| serving.demonstration)
}

/// Where the relay that served this directory last says that it stands: its operator's label.
pub fn last_region(data: &Path) -> Option<String> {
    last(data)?.region
}
