//! The Kuvert client SDK: one home directory, one device, one relay.
//!
//! ```text
//! Client::register(home, relay, profile, options)      once
//! let client = Client::open(home, options)?;           every later time
//! let connection = client.connect().await?;            QUIC, pinned, authenticated
//! client.send_text(&connection, "bob", "Hello").await?;            queue + flush
//! client.receive(&connection, ReceiveOptions::default(), |event| …).await?;
//! ```
//! [`Client`] and [`Connection`] are cheap handles: clone them into tasks, send and receive at the same time.
//!
//! Every change of state is one transaction of an encrypted SQLite file. What the relay was told it may delete is on this
//! machine's disk first; what the relay confirmed is on its disk; what lies between is in the outbox and is sent again,
//! same bytes, same id. Two processes may use one home at the same time.
//!
//! | module | owns |
//! |---|---|
//! | [`client`] | the façade: open, register, queue, history |
//! | [`error`] | the one error type, its codes |
//! | [`invite`] | invite links |
//! | `home` | the directory, its permissions, the store's key, locks between processes |
//! | `store` | transactions: the trait, SQLite with sealed values, an in-memory backend, their conformance tests |
//! | `state` | which tables there are and what their rows hold |
//! | `contacts` | trust on first use, pinned keys, verification, blocking |
//! | `blocking` | telling the relay who is blocked, where the owner wants that |
//! | `account` | correcting and deleting the account |
//! | `report` | all that the relay holds about the account |
//! | `consent` | the terms of a relay that runs the demonstration |
//! | `fold` | when two texts are the same to a person |
//! | `devices` | device lists: refuse unsigned, older, forked |
//! | `disclosure` | the level, the access key, what the relay gets to know |
//! | `people` | what L0 tells beyond mail, and taking it back |
//! | `certain` | what a clock that is set wrong must not decide |
//! | `prekeys` | refill, rotation, retention |
//! | `bridge` | where protocol and wire types meet |
//! | `transport` | QUIC, the relay's pin, requests and pushes |
//! | `send` | outbox: seal, submit, resubmit |
//! | `receipts` | when receipts are sent |
//! | `receive` | inbox: open, commit, acknowledge, receipts |

mod account;
mod blocking;
mod bridge;
mod certain;
pub mod client;
mod connection;
mod consent;
mod consumer;
mod contact;
mod contacts;
mod conversation;
mod devices;
mod directory;
mod disclosure;
mod engine;
pub mod error;
mod event;
mod fold;
mod history;
pub mod home;
mod identity;
pub mod invite;
mod migrate;
mod options;
mod patience;
mod people;
mod prekeys;
mod receipts;
mod receive;
mod records;
mod registration;
mod report;
mod requests;
mod resets;
mod rng;
mod send;
mod session;
mod state;
pub mod store;
pub mod transport;

pub use account::Correction;
pub use certain::MAX_SKEW_MS;
pub use client::{Builder, Client};
pub use connection::Connection;
pub use consent::{Consent, Policy, Terms};
pub use consumer::{Consumer, Cursor};
pub use contacts::Contacts;
pub use conversation::{ConversationId, MessageRef};
pub use disclosure::{Disclosure, Item, Seen};
pub use error::Error;
pub use event::{DropReason, Event, EventSink, ListConflict, Occupant, ReceiptKind};
pub use fold::{fold, is_invisible};
pub use invite::{InviteLink, InviteLinkError};
pub use options::{Clock, Options, Profile, ReceiveOptions, SystemClock};
pub use people::address_book::{Match, Person, Upload};
pub use people::phone::VerifiedPhone;
pub use people::profile::{ProfileChange, ProfileInfo};
pub use people::sheet::{PERMISSIONS, Permission, Permitted};
pub use receive::Turn;
pub use records::{
    Accepted, ContactInfo, Direction, FlushReport, MAX_AHEAD_MS, MessageRecord, MessageState, NotSent, Receipts,
    ReceiveEnd, SafetyNumber, Whoami, written_at,
};
pub use report::{Report, ReportFile, ReportStatus};

/// Not part of the interface: what the fuzz targets check.
#[doc(hidden)]
pub mod internal {
    pub use crate::bridge::{
        Body, Content, draft, finish_content, kem_prekey, one_time_prekey, open_content, prekey_bundle, receipts,
        session_reset, signed_prekey, text,
    };
}

/// The types in this crate's signatures.
pub use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId, Level, RelayUrl};
