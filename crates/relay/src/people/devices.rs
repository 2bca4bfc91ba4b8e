//! What a client says about the machine that it runs on.

use kuvert_types::Address;
use rusqlite::{Transaction, params};

use super::column::signed;

/// What it may say; all of it is optional.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Details {
    /// The model.
    pub model: Option<String>,
    /// The operating system.
    pub system: Option<String>,
    /// Its version.
    pub system_version: Option<String>,
    /// The client's version.
    pub app_version: Option<String>,
    /// The language that is set.
    pub language: Option<String>,
    /// The kind of network.
    pub network: Option<String>,
}

/// Notes what a device says, instead of what it said before.
///
/// # Errors
/// SQLite's.
pub fn report(tx: &Transaction<'_>, device: &Address, details: &Details, now_ms: u64) -> rusqlite::Result<()> {
    let Details { model, system, system_version, app_version, language, network } = details;
    tx.execute(
        "INSERT OR REPLACE INTO device_details(account, device, model, system, system_version, app_version, language,
         network, reported_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            device.account.as_bytes(),
            device.device.get(),
            model,
            system,
            system_version,
            app_version,
            language,
            network,
            signed(now_ms)
        ],
    )?;
    Ok(())
}
