//! What every backend of the store has to do. Each check runs on each backend; random sequences of operations run on a
//! backend and on the model side by side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
mod suite;
mod world;

use std::sync::Arc;

use kuvert_relay::store::Store;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::sqlite::{Options, SqliteStore};

/// Somewhere to open stores.
pub trait Backend {
    /// An empty one.
    fn new() -> Self;
    /// The store, with what earlier ones left there. They are closed.
    fn open(&self) -> Arc<dyn Store>;
}

struct Sqlite(tempfile::TempDir);

impl Backend for Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        // Room for a few: what is read comes from memory sometimes, from the disk sometimes.
        let options = Options { recent_bytes: 16 * 1024, ..Options::default() };
        Arc::new(SqliteStore::open_with(self.0.path(), options).unwrap())
    }
}

struct Memory;

impl Backend for Memory {
    fn new() -> Self {
        Self
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }
}

macro_rules! run {
    ($backend:ident, $module:ident: $($check:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $check() {
                    super::suite::$check::<super::$backend>(&super::Backend::new());
                }
            )*
        }
    };
}

macro_rules! every_backend {
    ($($check:ident)*) => {
        run!(Sqlite, sqlite: $($check)*);
        run!(Memory, memory: $($check)*);
    };
}

macro_rules! durable_backends {
    ($($check:ident)*) => {
        run!(Sqlite, sqlite_durable: $($check)*);
    };
}

every_backend! {
    envelopes_come_out_as_they_went_in
    pages_end_at_their_limits_and_have_no_holes
    mailboxes_are_separate
    the_same_envelope_is_stored_once
    an_id_is_its_submitters_own
    every_class_of_senders_has_its_share
    an_accounts_own_devices_are_no_strangers
    who_fills_a_mailbox_is_told_once
    mail_of_a_blocked_account_is_not_stored
    an_account_blocks_so_many_others
    an_id_may_come_again_once_it_was_delivered
    unknown_mailboxes_take_nothing_and_are_empty
    oversized_ciphertext_is_refused
    the_quota_of_envelopes_holds
    the_quota_of_bytes_holds
    acknowledging_deletes_up_to_the_cursor_only
    cursors_are_never_given_twice
    expiry_takes_the_oldest_first_in_slices
    expiry_finds_mail_whatever_the_clock_did
    expired_mail_is_counted_until_told
    mail_from_the_future_is_restamped_and_expires_in_time
    the_time_is_remembered
    accounts_are_found_by_id_and_name
    names_and_ids_are_unique
    an_invitation_is_good_for_its_uses_and_until_its_end
    an_account_is_changed_and_its_name_stays_unique
    a_deleted_account_leaves_nothing_and_its_name_is_free
    deleting_shares_a_transaction_with_what_comes_before_and_after
    device_lists_are_compared_and_set
    a_device_that_a_list_leaves_out_goes_with_all_that_is_its
    an_access_key_is_its_accounts_until_it_is_replaced_or_taken_away
    the_last_day_seen_only_rises
    bundles_give_each_one_time_key_once
    bundles_fall_back_to_the_last_resort
    a_last_resort_bundle_leaves_the_one_time_keys
    a_sparing_bundle_leaves_the_reserve_of_each_kind
    bundles_need_a_signed_and_a_last_resort_key
    prekey_ids_never_come_back
    publishing_is_all_or_nothing
    one_time_prekeys_are_bounded
    concurrent_takers_never_share_a_key
    a_caller_s_submits_keep_their_order
    concurrent_submitters_and_a_reader_see_no_holes
    totals_add_up
    a_closed_store_refuses
}

durable_backends! {
    everything_survives_closing
    access_keys_and_days_survive_closing
    shares_and_blocks_survive_closing
    cursors_rise_over_restarts
    deduplication_survives_closing
    prekey_ids_survive_closing
    dropping_finishes_what_was_asked
    a_deletion_survives_closing
    the_time_survives_closing
}
