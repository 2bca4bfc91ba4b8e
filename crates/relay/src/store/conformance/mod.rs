//! What every backend of the store has to do, as checks that panic where one does not. A backend's own tests run them:
//!
//! ```text
//! kuvert_relay::store_conformance!(MyBackend);
//! // Where it keeps what it stored:
//! kuvert_relay::durable_store_conformance!(MyBackend);
//! ```
//!
//! Each check becomes a test of its own. One of them runs random sequences of operations on the backend and on
//! [`MemoryStore`](super::memory::MemoryStore) side by side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[doc(hidden)]
pub mod random;
#[doc(hidden)]
pub mod suite;
mod world;

use std::sync::Arc;

use super::Store;

/// Somewhere to open stores.
pub trait Backend {
    /// An empty one.
    fn new() -> Self;
    /// Whether there is what it needs: a server, say. Where it is not, it says so here, and the checks are left out.
    fn is_there() -> bool {
        true
    }
    /// The store, with what earlier ones left there. They are closed.
    fn open(&self) -> Arc<dyn Store>;
}

/// A test for each check that every backend has to pass.
#[macro_export]
macro_rules! store_conformance {
    ($backend:ident) => {
        $crate::store_conformance!(@checks $backend:
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
            a_device_is_added_with_the_list_that_names_it
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
            a_session_s_submits_keep_their_order
            sessions_share_one_store_and_outlive_it
            concurrent_submitters_and_a_reader_see_no_holes
            totals_add_up
            a_closed_store_refuses
        );
    };
    (@checks $backend:ident: $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                if !<$backend as $crate::store::conformance::Backend>::is_there() {
                    return;
                }
                let backend = <$backend as $crate::store::conformance::Backend>::new();
                $crate::store::conformance::suite::$check(&backend);
            }
        )*
    };
}

/// A test for each check that a backend has to pass whose content outlasts the process.
#[macro_export]
macro_rules! durable_store_conformance {
    ($backend:ident) => {
        $crate::store_conformance!(@checks $backend:
            everything_survives_closing
            access_keys_and_days_survive_closing
            an_added_device_survives_closing
            shares_and_blocks_survive_closing
            cursors_rise_over_restarts
            deduplication_survives_closing
            prekey_ids_survive_closing
            dropping_finishes_what_was_asked
            a_deletion_survives_closing
            the_time_survives_closing
        );

        #[test]
        fn the_model_agrees() {
            if !<$backend as $crate::store::conformance::Backend>::is_there() {
                return;
            }
            $crate::store::conformance::random::the_model_agrees::<$backend>();
        }
    };
}
