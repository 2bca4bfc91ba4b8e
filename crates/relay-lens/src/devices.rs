//! What a client says about the machine that it runs on.

use kuvert_types::Address;
use rusqlite::{Transaction, params};

use kuvert_relay_sqlite::people::column::signed;

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
    /// What a client that simulates a phone made up: what, and the invented value.
    pub simulated: Vec<(String, String)>,
}

/// Deletes what a device said.
///
/// # Errors
/// SQLite's.
pub fn forget(tx: &Transaction<'_>, device: &Address) -> rusqlite::Result<()> {
    for table in ["device_details", "simulated_detail"] {
        let whose = (device.account.as_bytes(), device.device.get());
        tx.execute(&format!("DELETE FROM {table} WHERE account = ?1 AND device = ?2"), whose)?;
    }
    Ok(())
}

/// Notes what a device says, instead of what it said before.
///
/// # Errors
/// SQLite's.
pub fn report(tx: &Transaction<'_>, device: &Address, details: &Details, now_ms: u64) -> rusqlite::Result<()> {
    let Details { model, system, system_version, app_version, language, network, simulated } = details;
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
    let whose = (device.account.as_bytes(), device.device.get());
    tx.execute("DELETE FROM simulated_detail WHERE account = ?1 AND device = ?2", whose)?;
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO simulated_detail(account, device, what, value) VALUES(?1, ?2, ?3, ?4)",
    )?;
    for (what, value) in simulated {
        insert.execute((whose.0, whose.1, what, value))?;
    }
    Ok(())
}
