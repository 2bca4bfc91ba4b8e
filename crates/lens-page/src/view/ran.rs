//! The level at which the traffic ran. No file says it: it shows in what the relay was told.

use std::collections::BTreeMap;

use kuvert_privacy::registry::Level;
use kuvert_relay_lens::observe::Observed;

use super::sight::{addresses, is_envelope, is_of_l0};
use crate::files::Snapshot;

/// Up to L2 a receipt goes as soon as a letter has come: within so many milliseconds.
const AT_ONCE_MS: u64 = 2_000;

/// Up to L2 about half of all that is taken in are texts, and each of them is answered by a receipt at once. At L3 hardly any
/// is. A quarter lies between the two.
const SHARE: usize = 4;

/// The level, as far as the recording shows it; L0 where nothing was recorded: then nothing can be told apart.
pub fn ran_at(snapshot: &Snapshot) -> Level {
    let told = !snapshot.told.is_empty() || snapshot.accounts.iter().any(|account| account.phone.is_some());
    if told || snapshot.events.iter().any(is_of_l0) {
        return Level::L0;
    }
    let envelopes = || snapshot.events.iter().filter(|event| is_envelope(event));
    let named = envelopes().filter(|event| event.source.is_some()).count();
    match envelopes().count() {
        0 => Level::L0,
        // The first letters name their sender at every level; at L1 all do.
        all if named == all => Level::L1,
        _ if receipts_go_at_once(&snapshot.events) => Level::L2,
        _ => Level::L3,
    }
}

/// Whether those who take in a letter soon send something from the same address.
fn receipts_go_at_once(events: &[Observed]) -> bool {
    let addresses = addresses(events);
    let (mut taken_in, mut answered) = (0_usize, 0_usize);
    // By address: when a letter was taken in there that nothing has answered yet.
    let mut open: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in events {
        let Some(address) = event.connection.and_then(|connection| addresses.get(&connection).copied()) else {
            continue;
        };
        if event.kind == "acknowledged" {
            taken_in += 1;
            open.entry(address).or_default().push(event.at);
        } else if is_envelope(event) {
            let waiting = open.remove(address).unwrap_or_default();
            answered += waiting.into_iter().filter(|at| event.at.saturating_sub(*at) <= AT_ONCE_MS).count();
        }
    }
    taken_in > 0 && answered * SHARE >= taken_in
}
