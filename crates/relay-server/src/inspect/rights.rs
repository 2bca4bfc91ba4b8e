//! What is left of accounts that were deleted: counts, and holds by name.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::edition::Part;
use kuvert_privacy::time::utc;
use kuvert_relay::admin;

/// What stands in `people.db` of every relay.
pub struct Rights {
    /// The relay's own.
    pub own: admin::Rights,
    /// What the program offers beyond mail.
    pub beyond: Part,
}

impl Rights {
    fn deletions(&self) -> u64 {
        self.own.deletions.iter().map(|(_, accounts)| accounts).sum()
    }

    /// For programs: one object for all, and one for each hold.
    pub fn json(&self) -> Vec<Value> {
        let Self { own, beyond } = self;
        let mut all = json!({
            "type": "rights", "deleted_accounts": self.deletions(), "incidents": own.incidents,
            "report_requests": own.requests.len(), "holds": own.holds.len(),
        });
        for (name, value) in &beyond.members {
            all[*name] = value.clone();
        }
        let mut objects = vec![all];
        objects.extend(own.holds.iter().map(|hold| {
            json!({
                "type": "hold", "account": hold.account.to_string(), "reason": hold.reason, "at": hold.at,
                "deleted": hold.held.is_some(), "report_bytes": hold.held,
            })
        }));
        objects
    }

    /// For people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { own, beyond } = self;
        beyond.lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out, "  deleted accounts  {}, counted by day", self.deletions())?;
        writeln!(out, "  incidents         {} rows", own.incidents)?;
        if !own.requests.is_empty() {
            writeln!(out, "  reports           {} asked for", own.requests.len())?;
        }
        for hold in &own.holds {
            let what = match hold.held {
                Some(bytes) => format!("deleted {}, {bytes} bytes kept", utc(hold.at)),
                None => format!("since {}", utc(hold.at)),
            };
            writeln!(out, "  legal hold        {}  {what}: {}", hold.account, hold.reason)?;
        }
        Ok(())
    }
}
