//! Several relays before one store: every operation can be asked of every node, and a slot is written by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Database, InProcess, account, wait};
use kuvert_relay::store::conformance::Backend;
use kuvert_relay::store::{Cursor, NewEnvelope, Store, StoreError, SubmitError, Submitted};
use kuvert_relay_postgres::cluster::Node;
use kuvert_relay_postgres::slot::{self, all};
use kuvert_relay_postgres::{Postgres, Role};
use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};

/// A store that holds no slot, beside a node that holds all.
struct ThroughAnotherNode {
    database: Database,
    holder: Mutex<Option<Postgres>>,
}

/// A node under this name.
async fn node(database: &Database, name: &str) -> (Postgres, Node) {
    // The epoch is not known before it joined; whatever it is asked meanwhile is refused.
    let nobody = Node { id: kuvert_relay_postgres::cluster::NodeId::new(1).unwrap(), epoch: -1 };
    let first = Postgres::connect(database.settings.clone(), Role::Node { node: nobody, lanes: 1 }).await.unwrap();
    let node = first.cluster().join(name, "").await.unwrap();
    tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
    let store = Postgres::connect(database.settings.clone(), Role::Node { node, lanes: 2 }).await.unwrap();
    (store, node)
}

impl Backend for ThroughAnotherNode {
    fn new() -> Self {
        Self { database: Database::migrated().unwrap(), holder: Mutex::default() }
    }

    fn is_there() -> bool {
        common::server().is_some()
    }

    fn open(&self) -> Arc<dyn Store> {
        drop(self.holder.lock().unwrap().take());
        let (asked, holder) = wait(async {
            let (asked, a) = node(&self.database, "a").await;
            let (holder, b) = node(&self.database, "b").await;
            holder.cluster().take(b.id, 2, all().collect()).await.unwrap();
            holder.renew().await.unwrap();
            asked.renew().await.unwrap();
            let peers = Arc::new(InProcess::default());
            peers.add(b.id, &holder);
            // Only the way there: the stores must not keep each other alive.
            peers.add(a.id, &asked);
            peers.remove(a.id);
            (asked, holder)
        });
        *self.holder.lock().unwrap() = Some(holder);
        Arc::new(asked)
    }
}

impl Drop for ThroughAnotherNode {
    fn drop(&mut self) {
        drop(self.holder.lock().unwrap().take());
    }
}

// Not those that expire: each node does that for its own slots.
kuvert_relay::store_conformance!(@checks ThroughAnotherNode:
    envelopes_come_out_as_they_went_in
    pages_end_at_their_limits_and_have_no_holes
    the_same_envelope_is_stored_once
    an_id_is_its_submitters_own
    every_class_of_senders_has_its_share
    who_fills_a_mailbox_is_told_once
    mail_of_a_blocked_account_is_not_stored
    an_account_blocks_so_many_others
    unknown_mailboxes_take_nothing_and_are_empty
    oversized_ciphertext_is_refused
    acknowledging_deletes_up_to_the_cursor_only
    names_and_ids_are_unique
    an_invitation_is_good_for_its_uses_and_until_its_end
    deleting_shares_a_transaction_with_what_comes_before_and_after
    device_lists_are_compared_and_set
    an_access_key_is_its_accounts_until_it_is_replaced_or_taken_away
    concurrent_takers_never_share_a_key
    a_session_s_submits_keep_their_order
    concurrent_submitters_and_a_reader_see_no_holes
);

fn envelope(n: u32) -> NewEnvelope {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    NewEnvelope { id: EnvelopeId::from_bytes(id), source: None, ciphertext: vec![7; 20].into() }
}

const MAILBOX: Address = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };

/// Two nodes, of which the first holds every slot.
async fn two(database: &Database) -> ((Postgres, Node), (Postgres, Node)) {
    let (a, b) = (node(database, "a").await, node(database, "b").await);
    a.0.cluster().take(a.1.id, 2, all().collect()).await.unwrap();
    a.0.renew().await.unwrap();
    b.0.renew().await.unwrap();
    (a, b)
}

async fn stored(store: &Postgres) -> Vec<Cursor> {
    let page = store.read(MAILBOX, Cursor::START, 100, 10_000).await.unwrap();
    page.envelopes.iter().map(|envelope| envelope.cursor).collect()
}

async fn end(stores: impl IntoIterator<Item = Postgres>) {
    let stores: Vec<_> = stores.into_iter().collect();
    tokio::task::spawn_blocking(move || drop(stores)).await.unwrap();
}

#[test]
fn a_holder_that_does_not_know_that_it_is_none_any_more_writes_nothing() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let ((a, _), (b, node_b)) = two(&database).await;
        a.register(account(1)).await.unwrap();
        let first = a.submit(MAILBOX, envelope(1), 1).await.unwrap().cursor();
        // Taken while the holder does not look: from the table's side it is over, in the holder's memory it is not.
        b.cluster().take(node_b.id, 2, all().collect()).await.unwrap();
        let refused = a.submit(MAILBOX, envelope(2), 1).await;
        assert!(matches!(refused, Err(SubmitError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        assert_eq!(a.set_access_key(MAILBOX.account, None).await.map_err(|error| error.kind()), Err("input/output"));
        assert_eq!(a.acknowledge(MAILBOX, first).await.map_err(|error| error.kind()), Err("input/output"));
        assert_eq!(stored(&b).await, [first], "neither written nor deleted");
        b.renew().await.unwrap();
        let second = b.submit(MAILBOX, envelope(2), 1).await.unwrap();
        assert!(matches!(second, Submitted::Stored { cursor } if cursor > first));
        let again = b.submit(MAILBOX, envelope(1), 1).await.unwrap();
        assert_eq!(again, Submitted::AlreadyStored { cursor: first });
        end([a, b]).await;
    });
}

#[test]
fn what_comes_to_the_one_before_finds_its_way_to_the_one_after() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let ((a, node_a), (b, node_b)) = two(&database).await;
        let peers = Arc::new(InProcess::default());
        peers.add(node_a.id, &a);
        peers.add(node_b.id, &b);
        a.register(account(1)).await.unwrap();
        let mut session = a.session();
        let mut sent = Vec::new();
        for n in 0..600 {
            sent.push(session.submit(MAILBOX, envelope(n), None, 1));
            if n == 300 {
                b.cluster().take(node_b.id, 2, all().collect()).await.unwrap();
                b.renew().await.unwrap();
            }
        }
        let mut cursors = Vec::new();
        for pending in sent {
            let submitted = pending.await.unwrap();
            assert!(matches!(submitted, Submitted::Stored { .. }), "{submitted:?}");
            cursors.push(submitted.cursor());
        }
        cursors.sort_unstable();
        let page = a.read(MAILBOX, Cursor::START, 1_000, 1 << 20).await.unwrap();
        let read: Vec<_> = page.envelopes.iter().map(|envelope| envelope.cursor).collect();
        assert_eq!(read, cursors, "each is there once, where its answer said");
        assert_eq!(b.take_full(MAILBOX).await, Ok(None));
        peers.remove(node_a.id);
        peers.remove(node_b.id);
        end([a, b]).await;
    });
}

#[test]
fn an_account_that_one_node_deletes_is_gone_for_the_other_at_once() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let ((a, node_a), (b, node_b)) = two(&database).await;
        let half = all().filter(|slot| *slot == slot::of(&MAILBOX.account)).collect();
        b.cluster().take(node_b.id, 2, half).await.unwrap();
        b.renew().await.unwrap();
        a.renew().await.unwrap();
        let peers = Arc::new(InProcess::default());
        peers.add(node_a.id, &a);
        peers.add(node_b.id, &b);
        b.register(account(1)).await.unwrap();
        assert!(b.submit(MAILBOX, envelope(1), 1).await.is_ok());
        assert!(a.submit(MAILBOX, envelope(2), 1).await.is_ok());
        assert_eq!(a.delete_account(MAILBOX.account).await, Ok(true));
        for store in [&a, &b] {
            assert_eq!(store.submit(MAILBOX, envelope(3), 1).await, Err(SubmitError::UnknownMailbox));
            assert_eq!(store.access_key(MAILBOX).await, Ok(None));
        }
        peers.remove(node_a.id);
        peers.remove(node_b.id);
        end([a, b]).await;
    });
}

#[test]
fn a_node_that_was_declared_dead_takes_nothing_back() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let ((a, node_a), (b, _)) = two(&database).await;
        a.register(account(1)).await.unwrap();
        assert!(b.cluster().declare_dead(node_a).await.unwrap());
        a.renew().await.unwrap();
        let refused = a.submit(MAILBOX, envelope(1), 1).await;
        assert!(matches!(refused, Err(SubmitError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        assert!(stored(&b).await.is_empty());
        let again = a.cluster().join("a", "").await.unwrap();
        assert_eq!(again.id, node_a.id);
        a.set_node(again);
        a.renew().await.unwrap();
        assert!(a.submit(MAILBOX, envelope(1), 1).await.is_ok(), "its leases were not taken meanwhile");
        end([a, b]).await;
    });
}

#[test]
fn bytes_of_another_node_that_make_no_sense_are_refused() {
    let Some(database) = Database::migrated() else { return };
    wait(async {
        let (a, _) = node(&database, "a").await;
        for bytes in [&b""[..], b"\x0a\x00", b"\xff\xff\xff", &[0x22, 3, 1, 2, 3], &[0x22, 0x10]] {
            assert!(a.serve_peer(bytes::Bytes::from_static(bytes)).await.is_err(), "{bytes:?}");
        }
        end([a]).await;
    });
}
