//! What is left of accounts that were deleted, and what the demonstration shared: counts, and holds by name.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::serve::last_demonstration;
use super::time::utc;
use crate::people::People;
use crate::people::holds::{self, Hold};
use crate::policy::DEMONSTRATION;
use crate::store::StoreError;

/// What stands in `people.db` beside what people tell.
pub struct Rights {
    demonstration: bool,
    deletions: u64,
    incidents: u64,
    consents: u64,
    reports: u64,
    exports: u64,
    holds: Vec<Hold>,
}

impl Rights {
    /// Reads it.
    pub fn read(data: &Path) -> Result<Self, Failure> {
        let demonstration = last_demonstration(data);
        let nothing =
            Self { demonstration, deletions: 0, incidents: 0, consents: 0, reports: 0, exports: 0, holds: Vec::new() };
        let Some(people) = People::look(data)? else { return Ok(nothing) };
        let read: Result<Self, StoreError> = people.transact(|tx| {
            let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
            Ok(Self {
                demonstration,
                deletions: number("SELECT ifnull(sum(accounts), 0) FROM deletion")?,
                incidents: number("SELECT count(*) FROM incident")?,
                consents: number("SELECT count(*) FROM consent")?,
                reports: number("SELECT count(*) FROM report_request")?,
                exports: number("SELECT count(*) FROM shared")?,
                holds: holds::list(tx)?,
            })
        });
        Ok(read?)
    }

    /// For programs: one object for all, and one for each hold.
    pub fn json(&self) -> Vec<Value> {
        let Self { demonstration, deletions, incidents, consents, reports, exports, holds } = self;
        let mut objects = vec![json!({
            "type": "rights", "demonstration": demonstration, "deleted_accounts": deletions, "incidents": incidents,
            "consents": consents, "report_requests": reports, "exports": exports, "holds": holds.len(),
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
        let Self { demonstration, deletions, incidents, consents, reports, exports, holds } = self;
        if *demonstration {
            writeln!(out, "  DEMONSTRATION     {DEMONSTRATION}")?;
            writeln!(out, "  consents          {consents}; exports made: {exports}")?;
        }
        writeln!(out, "  deleted accounts  {deletions}, counted by day")?;
        writeln!(out, "  incidents         {incidents} rows")?;
        if *reports > 0 {
            writeln!(out, "  reports           {reports} asked for")?;
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
