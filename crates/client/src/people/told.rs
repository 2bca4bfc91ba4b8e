//! What is noted of what was told.

use kuvert_types::Level;

use crate::disclosure;
use crate::engine::Engine;
use crate::error::Error;
use crate::state::{self, ToldRow, own};
use crate::store::{Table, Transaction};

/// The row; the default before there is one.
pub fn row(tx: &dyn Transaction) -> Result<ToldRow, Error> {
    Ok(state::get(tx, Table::Own, own::TOLD)?.unwrap_or_default())
}

/// Notes at L0 that something is about to be told, and says the level.
///
/// # Errors
/// Those of the store.
pub async fn note(engine: &Engine) -> Result<Level, Error> {
    engine
        .write(|tx| {
            let level = disclosure::row(tx)?.level();
            if level == Level::L0 {
                state::put(tx, Table::Own, own::TOLD, &ToldRow { told: true, ..row(tx)? })?;
            }
            Ok(level)
        })
        .await
}
