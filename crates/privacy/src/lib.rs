//! What a Kuvert relay can store, field by field, and what is made from it: the report that an account can ask for, the
//! record of processing activities, the privacy notice, the deletion plan. Pure: no database, no clock, no relay.
//!
//! | module | holds |
//! |---|---|
//! | [`registry`] | one entry for each field that can be stored: what it is, what for, how long; the documents |
//! | [`report`] | all that a relay holds about one account, as files |
//! | [`retention`] | how long things are kept at most |
//! | [`demonstration`] | what the demonstration says that it shares |
//! | [`time`] | times as people read them |

pub mod demonstration;
pub mod registry;
pub mod report;
pub mod retention;
pub mod time;
