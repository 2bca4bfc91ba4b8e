//! What every backend of blobs has to do, as checks that panic where one does not. A backend's own tests run them:
//!
//! ```text
//! kuvert_relay::blob_conformance!(MyBackend);
//! ```
//!
//! Each check becomes a test of its own, on a runtime of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[doc(hidden)]
pub mod suite;
#[doc(hidden)]
pub mod world;

use std::sync::Arc;

use super::store::BlobStore;

/// Somewhere to open stores of blobs.
pub trait BlobBackend: Sync {
    /// An empty one.
    fn new() -> Self;
    /// Whether there is what it needs: a server, say. Where it is not, it says so here, and the checks are left out.
    fn is_there() -> bool {
        true
    }
    /// The store, with what earlier ones left there. They are closed.
    fn open(&self) -> impl Future<Output = Arc<dyn BlobStore>> + Send;
    /// The files or objects that hold bytes of blobs now, each with its content.
    fn stored(&self) -> Vec<Vec<u8>>;
    /// Puts a file or an object there as if a deletion had been interrupted: no row refers to it.
    fn strew(&self);
    /// Takes every file or object away, as a disk does that lost them.
    fn lose(&self);
}

/// A test for each check that every backend has to pass.
#[macro_export]
macro_rules! blob_conformance {
    ($backend:ident) => {
        $crate::blob_conformance!(@checks $backend:
            bytes_come_out_as_they_went_in
            what_was_synced_survives_closing_and_goes_on_there
            an_upload_that_breaks_often_is_whole_in_the_end
            what_is_not_next_is_refused
            the_stream_that_came_last_goes_on
            only_the_uploader_goes_on
            a_blob_is_read_once_it_is_complete
            the_last_reader_erases
            one_of_two_last_readers_erases
            a_capability_for_all_stays
            the_uploader_takes_readers_off_and_discards
            an_account_has_its_share
            concurrent_uploads_take_no_more_than_there_is
            uploads_and_blobs_expire
            an_account_s_blobs_go_with_it
            what_is_erased_ends_for_those_that_have_it_open
            what_there_is_is_counted
            what_is_stored_shows_nothing
            what_lacks_its_other_half_is_collected
            a_closed_store_refuses_blobs
        );
    };
    (@checks $backend:ident: $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                if !<$backend as $crate::blobs::conformance::BlobBackend>::is_there() {
                    return;
                }
                let backend = <$backend as $crate::blobs::conformance::BlobBackend>::new();
                $crate::blobs::conformance::suite::run($crate::blobs::conformance::suite::$check(&backend));
            }
        )*
    };
}
