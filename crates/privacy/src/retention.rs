//! How long things are kept at most. The registry tells it, and what deletes goes by it.

/// Days that traces of what happened are kept: incidents, and observations. The hard bound of a deletion.
pub const TRACE_DAYS: u32 = 90;

/// Days that a report can be fetched once it is ready.
pub const REPORT_KEPT_DAYS: u32 = 7;

/// Days that an operator may take for a report: Art. 12(3) GDPR allows a month.
pub const MAX_DELAY_DAYS: u32 = 30;

/// A request for a report is remembered this many days at the latest.
pub const MAX_REPORT_DAYS: u32 = MAX_DELAY_DAYS + REPORT_KEPT_DAYS;
