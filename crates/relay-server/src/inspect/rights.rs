//! What is left of accounts that were deleted, and what the demonstration shared: counts, and holds by name.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Failure;
use kuvert_privacy::time::utc;
use kuvert_relay_lens::look;
use kuvert_relay_lens::policy::DEMONSTRATION;
use kuvert_relay_sqlite::people::People;
use kuvert_relay_sqlite::serving::last_demonstration;

/// What stands in `people.db` beside what people tell.
pub struct Rights {
    demonstration: bool,
    look: look::Rights,
}

impl Rights {
    /// Reads it.
    pub fn read(data: &Path) -> Result<Self, Failure> {
        let look = People::open_read_only(data)?.map(|people| people.transact(look::rights)).transpose()?;
        Ok(Self { demonstration: last_demonstration(data), look: look.unwrap_or_default() })
    }

    fn deletions(&self) -> u64 {
        self.look.deletions.iter().map(|(_, accounts)| accounts).sum()
    }

    fn consents(&self) -> usize {
        self.look.consents.iter().map(|(_, ledger)| ledger.len()).sum()
    }

    /// For programs: one object for all, and one for each hold.
    pub fn json(&self) -> Vec<Value> {
        let Self { demonstration, look } = self;
        let look::Rights { requests, exports, incidents, holds, .. } = look;
        let mut objects = vec![json!({
            "type": "rights", "demonstration": demonstration, "deleted_accounts": self.deletions(), "incidents": incidents,
            "consents": self.consents(), "report_requests": requests.len(), "exports": exports.len(), "holds": holds.len(),
        })];
        objects.extend(holds.iter().map(|hold| {
            json!({
                "type": "hold", "account": hold.account.to_string(), "reason": hold.reason, "at": hold.at,
                "deleted": hold.held.is_some(), "report_bytes": hold.held,
            })
        }));
        objects
    }

    /// For people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { demonstration, look } = self;
        let look::Rights { requests, exports, incidents, holds, .. } = look;
        if *demonstration {
            writeln!(out, "  DEMONSTRATION     {DEMONSTRATION}")?;
            writeln!(out, "  consents          {}; exports made: {}", self.consents(), exports.len())?;
        }
        writeln!(out, "  deleted accounts  {}, counted by day", self.deletions())?;
        writeln!(out, "  incidents         {incidents} rows")?;
        if !requests.is_empty() {
            writeln!(out, "  reports           {} asked for", requests.len())?;
        }
        for hold in holds {
            let what = match hold.held {
                Some(bytes) => format!("deleted {}, {bytes} bytes kept", utc(hold.at)),
                None => format!("since {}", utc(hold.at)),
            };
            writeln!(out, "  legal hold        {}  {what}: {}", hold.account, hold.reason)?;
        }
        Ok(())
    }
}
