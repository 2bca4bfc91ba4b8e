//! Whether another copy of this home is in use.
//!
//! A process that begins to receive leaves a mark of its own in the store. When another connection of this device takes over, the
//! mark is another one if that connection is of a process of this home, and still the own one if it is not: then it is of a copy of
//! the home, on this machine or another. Its sessions and those of this home go apart, and what one of both fetches the other never
//! gets. A relay can say so without a reason: nothing follows from it but a word to the owner.

use crate::engine::Engine;
use crate::error::Error;
use crate::rng;
use crate::state::own;
use crate::store::{Table, Transaction as _};

/// The mark of a process that receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark([u8; 16]);

/// Leaves a mark, before the relay hears that this process receives.
///
/// # Errors
/// Those of the store.
pub async fn mark(engine: &Engine) -> Result<Mark, Error> {
    let mark = rng::bytes::<16>();
    engine.write_relaxed(move |tx| Ok(tx.put(Table::Own, own::RECEIVER, &mark)?)).await?;
    Ok(Mark(mark))
}

/// Another connection took over: notes when, if it was none of this home.
///
/// # Errors
/// Those of the store.
pub async fn taken_over(engine: &Engine, Mark(mark): Mark) -> Result<(), Error> {
    let is_ours = move |value: &[u8]| value == mark;
    if engine.read(move |tx| Ok(tx.get(Table::Own, own::RECEIVER)?.is_some_and(|value| is_ours(&value)))).await? {
        tracing::info!("another copy of this home receives");
        engine.write(|tx| Ok(tx.put(Table::Own, own::COPY_SEEN, &tx.now().to_be_bytes())?)).await?;
    }
    Ok(())
}
