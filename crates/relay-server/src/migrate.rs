//! `migrate`: makes the tables of a store on PostgreSQL, or brings them to this version.

use serde_json::json;

use crate::args::Migrate;
use crate::failure::Failure;
use crate::{print, store};

/// Runs `migrate`.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Migrate, json: bool) -> Result<(), Failure> {
    let (from, to) = store::migrate(&args.store, args.restored)?;
    let restored = args.restored;
    print(&if json {
        format!("{}\n", json!({"type": "migrated", "from": from, "to": to, "restored": restored}))
    } else {
        let done = match from {
            0 => format!("the tables were made, in format {to}"),
            from if from == to => format!("the tables have format {to}, as this program writes it"),
            from => format!("the tables were brought from format {from} to {to}"),
        };
        let after = if restored { "; one-time prekeys are gone, and cursors begin beyond the old ones" } else { "" };
        format!("{done}{after}\n")
    })
}
