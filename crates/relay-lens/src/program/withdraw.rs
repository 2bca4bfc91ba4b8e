//! `withdraw`: deletes what accounts told at level L0, all of it, so that the directory can be served without that level.

use std::io::{self, Write};

use serde_json::json;

use super::args::Withdraw;
use crate::tables::TABLES;
use crate::withdraw;
use kuvert_relay::store::Store as _;
use kuvert_relay_server::failure::Failure;
use kuvert_relay_server::serve::default_data;
use kuvert_relay_sqlite::people::People;
use kuvert_relay_sqlite::store::SqliteStore;

/// Runs `withdraw`.
///
/// # Errors
/// See [`Failure`]; `data-locked` while a relay serves the directory.
pub fn run(args: Withdraw, json: bool) -> Result<(), Failure> {
    let data = args.data.map_or_else(default_data, Ok)?;
    if !data.exists() {
        return Err(Failure::new("data-missing", format!("{} is no relay's directory", data.display())));
    }
    // Held until the end: it keeps a relay out.
    let store = SqliteStore::open(&data)?;
    let rows = withdraw::everything(&People::open(&data, Some(&TABLES))?)?;
    store.close().wait()?;
    let line = if json {
        json!({"type": "withdrawn", "rows": rows}).to_string()
    } else {
        format!("{rows} rows that accounts told at level L0 are deleted; phone numbers given at registration stay")
    };
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::output(&error))
}
