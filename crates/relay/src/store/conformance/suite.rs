//! The checks. Their names are what they check.

#![allow(missing_docs)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kuvert_types::limits::{
    MAX_BLOCKED, MAX_CIPHERTEXT_BYTES, MAX_MAILBOX_BYTES, MAX_MAILBOX_ENVELOPES, MAX_OCCUPANTS, MAX_ONE_TIME_PREKEYS,
};
use kuvert_types::{AccessKeyHash, Address, DeviceId, DeviceSigningKey};

use super::Backend;
use super::world::*;
use crate::mailbox::Amount;
use crate::store::error::MailboxFull;
use crate::store::{
    AccountBy, AccountChange, Cursor, Doubt, Gauges, KnownTime, NewAccount, NewDevice, NewEnvelope, NewInvitation,
    NewPrekeys, NumberedDeviceList, Occupant, Page, PrekeyCounts, PrekeyKind, PublishPrekeysError, RegisterError,
    SetBlockedError, Stats, Store, StoreError, StoredAccessKey, SubmitError, Submitted, TakeBundleError, Times,
    Unavailable, UpdateAccountError, UpdateDevicesError, Waiting,
};

const ALL: (usize, usize) = (usize::MAX, usize::MAX);

// ---- mailboxes

pub fn envelopes_come_out_as_they_went_in<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let with_source = envelope(1, MAX_CIPHERTEXT_BYTES);
    let without = NewEnvelope { source: None, ..envelope(2, 1) };
    for (envelope, accepted_at) in [(&with_source, NOW), (&without, NOW + 7)] {
        let submitted = store.submit(address(1), envelope.clone(), accepted_at).wait().unwrap();
        assert!(matches!(submitted, Submitted::Stored { .. }));
    }
    let page = store.read(address(1), Cursor::START, ALL.0, ALL.1).wait().unwrap();
    let got: Vec<_> = page.envelopes.iter().map(|e| (e.id, e.source, e.ciphertext.clone(), e.accepted_at)).collect();
    let want = [(with_source, NOW), (without, NOW + 7)].map(|(e, at)| (e.id, e.source, e.ciphertext, at));
    assert_eq!(got, want);
}

pub fn pages_end_at_their_limits_and_have_no_holes<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let cursors: Vec<_> = (0..10)
        .map(|n| {
            submit(&*store, 2, 100 + n, NOW);
            submit(&*store, 1, n, NOW)
        })
        .collect();
    assert!(cursors.is_sorted_by(|a, b| a < b) && cursors[0] > Cursor::START);
    let read = |after, limit, bytes| {
        let page = store.read(address(1), after, limit, bytes).wait().unwrap();
        let cursors: Vec<_> = page.envelopes.iter().map(|envelope| envelope.cursor).collect();
        (cursors, page.more)
    };
    assert_eq!(read(Cursor::START, 4, ALL.1), (cursors[..4].to_vec(), true));
    assert_eq!(read(cursors[3], 6, ALL.1), (cursors[4..].to_vec(), false));
    assert_eq!(read(cursors[3], 5, ALL.1), (cursors[4..9].to_vec(), true));
    assert_eq!(read(cursors[9], 5, ALL.1), (vec![], false));
    assert_eq!(read(Cursor::START, ALL.0, 30), (cursors[..3].to_vec(), true));
    assert_eq!(read(Cursor::START, ALL.0, 39), (cursors[..3].to_vec(), true));
    assert_eq!(read(Cursor::START, ALL.0, 1), (cursors[..1].to_vec(), true), "one that is too large still comes");
    assert_eq!(read(Cursor::START, ALL.0, 100), (cursors.clone(), false));
    assert_eq!(read(Cursor::START, 0, ALL.1), (vec![], true));
    assert_eq!(read(Cursor::new(u64::MAX), 5, ALL.1), (vec![], false));
}

pub fn mailboxes_are_separate<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    for n in 0..3 {
        submit(&*store, 1, n, NOW);
        submit(&*store, 2, 10 + n, NOW);
    }
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(3));
    assert_eq!((waiting(&*store, 1), waiting(&*store, 2)), (vec![], vec![10, 11, 12]));
}

pub fn the_same_envelope_is_stored_once<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let first = submit(&*store, 1, 1, NOW);
    submit(&*store, 1, 2, NOW);
    let again = store.submit(address(1), envelope(1, 10), NOW + 1).wait();
    assert_eq!(again, Ok(Submitted::AlreadyStored { cursor: first }));
    let elsewhere = store.submit(address(2), envelope(1, 10), NOW).wait().unwrap();
    assert!(matches!(elsewhere, Submitted::Stored { .. }), "another mailbox is another matter");
    // In one go, so that both may share a transaction.
    let twice = [3, 3].map(|n| store.submit(address(1), envelope(n, 10), NOW)).map(|pending| pending.wait().unwrap());
    assert_eq!(twice[1], Submitted::AlreadyStored { cursor: twice[0].cursor() });
    assert_eq!((waiting(&*store, 1), waiting(&*store, 2)), (vec![1, 2, 3], vec![1]));
}

pub fn an_id_may_come_again_once_it_was_delivered<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let first = submit(&*store, 1, 1, NOW);
    assert_eq!(store.acknowledge(address(1), first).wait(), Ok(1));
    let again = store.submit(address(1), envelope(1, 10), NOW).wait().unwrap();
    assert!(matches!(again, Submitted::Stored { cursor } if cursor > first));
}

pub fn unknown_mailboxes_take_nothing_and_are_empty<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let unknown = address(9);
    assert_eq!(store.submit(unknown, envelope(1, 10), NOW).wait(), Err(SubmitError::UnknownMailbox));
    assert_eq!(store.read(unknown, Cursor::START, ALL.0, ALL.1).wait(), Ok(Page::default()));
    assert_eq!(store.acknowledge(unknown, Cursor::new(u64::MAX)).wait(), Ok(0));
    assert_eq!(store.waiting(unknown).wait(), Ok(Waiting::default()));
    assert_eq!(store.acknowledge_expired(unknown, 1).wait(), Ok(()));
    assert_eq!(store.device(unknown).wait(), Ok(None));
    assert_eq!(store.count_prekeys(unknown).wait(), Ok(PrekeyCounts::default()));
    assert_eq!(store.take_bundle(unknown).wait(), Err(TakeBundleError::UnknownDevice));
    assert_eq!(store.publish_prekeys(unknown, kept_prekeys(1)).wait(), Err(PublishPrekeysError::UnknownDevice));
}

pub fn oversized_ciphertext_is_refused<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let result = store.submit(address(1), envelope(1, MAX_CIPHERTEXT_BYTES + 1), NOW).wait();
    assert_eq!(result, Err(SubmitError::TooLarge));
    assert!(waiting(&*store, 1).is_empty());
}

pub fn an_id_is_its_submitters_own<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let other_device = Address { device: DeviceId::new(2).unwrap(), ..address(200) };
    let sources = [Some(address(200)), Some(address(201)), Some(other_device), None];
    let submit = |source| store.submit(address(1), NewEnvelope { source, ..envelope(1, 10) }, NOW).wait().unwrap();
    // Whoever is the first with an id keeps no other out.
    let stored = sources.map(submit);
    assert!(stored.iter().all(|submitted| matches!(submitted, Submitted::Stored { .. })), "{stored:?}");
    for (source, first) in sources.into_iter().zip(stored) {
        assert_eq!(submit(source), Submitted::AlreadyStored { cursor: first.cursor() });
    }
    assert_eq!(waiting(&*store, 1), [1, 1, 1, 1]);
}

/// Submits under the key until it is refused. Says how many were taken, and why no more were.
fn fill(
    store: &dyn Store,
    key: Option<AccessKeyHash>,
    ids: &mut u32,
    make: impl Fn(u32) -> NewEnvelope,
) -> (u64, SubmitError) {
    let mut count = 0;
    loop {
        let batch: Vec<_> = (0..256)
            .map(|_| {
                *ids += 1;
                store.submit_with(address(1), make(*ids), key, NOW)
            })
            .collect();
        let mut refused = None;
        for pending in batch {
            match pending.wait() {
                Ok(_) => count += 1,
                Err(error) => refused = Some(error),
            }
        }
        if let Some(refused) = refused {
            return (count, refused);
        }
    }
}

pub fn every_class_of_senders_has_its_share<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    let mut ids = 0;
    let mut fill = |key, from: Option<u16>, size| {
        fill(&*store, key, &mut ids, |id| from.map_or_else(|| sealed(id, size), |from| envelope_from(from, id, size)))
    };
    let (envelopes, bytes) = (SubmitError::Full(MailboxFull::Envelopes), SubmitError::Full(MailboxFull::Bytes));
    let key = Some(KEY.hash);
    // Strangers: without a key, or with another one. Each leaves room for the next.
    assert_eq!(fill(None, Some(1), 10), (625, envelopes.clone()));
    assert_eq!(fill(None, Some(2), 10), (546, envelopes.clone()));
    assert_eq!(fill(Some([1; 32]), Some(3), 10), (478, envelopes.clone()));
    assert_eq!(fill(None, Some(4), 90_000), (23, bytes.clone()));
    // The same account with the key has a share of its own, and so has another contact.
    assert_eq!(fill(key, Some(1), 10), (2_500, envelopes.clone()));
    assert_eq!(fill(key, Some(5), 90_000), (93, bytes.clone()));
    assert_eq!(fill(None, None, 3_000), (10_000, envelopes.clone()));
    // What is fetched makes room for its sender.
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(14_265));
    assert_eq!(fill(None, Some(1), 10), (625, envelopes));
    assert_eq!(fill(None, None, 90_000), (372, bytes));
}

pub fn an_accounts_own_devices_are_no_strangers<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let own = Some(Address { device: DeviceId::new(2).unwrap(), ..address(1) });
    let full = SubmitError::Full(MailboxFull::Envelopes);
    let make = |id| NewEnvelope { source: own, ..envelope(id, 10) };
    assert_eq!(fill(&*store, None, &mut 0, make), (2_500, full));
}

pub fn the_quota_of_envelopes_holds<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    let max = u32::try_from(MAX_MAILBOX_ENVELOPES).unwrap();
    // Eight contacts fill it together.
    let submit_one = |n: u32| {
        let from = u16::try_from(n / 2_500).unwrap();
        store.submit_with(address(1), envelope_from(from, n, 1), Some(KEY.hash), NOW)
    };
    let pending: Vec<_> = (0..max).map(submit_one).collect();
    let cursors: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap().cursor()).collect();
    let full = || Err(SubmitError::Full(MailboxFull::Envelopes));
    assert_eq!(submit_one(max).wait(), full());
    let retried = submit_one(0).wait();
    assert_eq!(retried, Ok(Submitted::AlreadyStored { cursor: cursors[0] }), "a retry is not told that it is full");
    submit(&*store, 2, 1, NOW);
    assert_eq!(store.acknowledge(address(1), cursors[0]).wait(), Ok(1));
    submit(&*store, 1, max, NOW);
    assert_eq!(submit_one(max + 1).wait(), full());
    assert_eq!(store.waiting(address(1)).wait().unwrap().count, MAX_MAILBOX_ENVELOPES);
}

pub fn the_quota_of_bytes_holds<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    let whole = u32::try_from(MAX_MAILBOX_BYTES / MAX_CIPHERTEXT_BYTES as u64).unwrap();
    let of_contact = u32::try_from(MAX_MAILBOX_BYTES / 8 / MAX_CIPHERTEXT_BYTES as u64).unwrap();
    let submit_one = |n: u32, size| {
        let from = u16::try_from(n / of_contact).unwrap();
        store.submit_with(address(1), envelope_from(from, n, size), Some(KEY.hash), NOW).wait()
    };
    for n in 0..whole {
        submit_one(n, MAX_CIPHERTEXT_BYTES).unwrap();
    }
    let left = usize::try_from(MAX_MAILBOX_BYTES).unwrap() - whole as usize * MAX_CIPHERTEXT_BYTES;
    let full = || Err(SubmitError::Full(MailboxFull::Bytes));
    assert_eq!(submit_one(2_000, left + 1), full());
    assert!(submit_one(2_000, left).is_ok(), "to the last byte");
    assert_eq!(submit_one(2_001, 1), full());
    assert_eq!(store.waiting(address(1)).wait().unwrap().bytes, MAX_MAILBOX_BYTES);
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(u64::from(whole) + 1));
    submit(&*store, 1, 1001, NOW);
}

pub fn who_fills_a_mailbox_is_told_once<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    assert_eq!(store.take_full(address(1)).wait(), Ok(None));
    assert_eq!(store.take_full(address(9)).wait(), Ok(None));
    for n in 0..12_u16 {
        store.submit(address(1), envelope_from(n, n.into(), 100 + usize::from(n)), NOW).wait().unwrap();
    }
    for n in 0..623 {
        submit(&*store, 1, 100 + n, NOW);
    }
    assert_eq!(store.take_full(address(1)).wait(), Ok(None), "nothing was refused so far");
    for _ in 0..3 {
        store.submit(address(1), envelope(1_000, 10), NOW).wait().unwrap_err();
    }
    let full = store.take_full(address(1)).wait().unwrap().unwrap();
    assert_eq!((full.refused, full.largest.len()), (3, MAX_OCCUPANTS));
    let first = Occupant { account: Some(account(200)), waiting: Amount { envelopes: 623, bytes: 6_230 } };
    assert_eq!(full.largest[0], first);
    let next = envelope_from(11, 0, 0).source.map(|source| source.account);
    assert_eq!(full.largest[1], Occupant { account: next, waiting: Amount { envelopes: 1, bytes: 111 } });
    assert_eq!(store.take_full(address(1)).wait(), Ok(None), "since then nothing was refused");
    // What is blocked is not told of as refused.
    store.set_blocked(account(1), account(200), true).wait().unwrap();
    store.submit(address(1), envelope(1_001, 10), NOW).wait().unwrap_err();
    assert_eq!(store.take_full(address(1)).wait(), Ok(None));
    assert_eq!(store.take_full(address(2)).wait(), Ok(None));
}

pub fn mail_of_a_blocked_account_is_not_stored<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let block = |other, blocked| store.set_blocked(account(1), account(other), blocked).wait();
    let from = |n: u8, id| {
        let source = Some(Address { device: DeviceId::new(3).unwrap(), ..address(n) });
        store.submit(address(1), NewEnvelope { source, ..envelope(id, 10) }, NOW).wait()
    };
    submit(&*store, 1, 1, NOW);
    assert_eq!(block(200, true), Ok(()));
    assert_eq!(block(200, true), Ok(()), "twice is once");
    // Every device of the account, with a key or without; none but that account; in that account's mailboxes alone.
    assert_eq!(from(200, 2), Err(SubmitError::Blocked));
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    let with_key = store.submit_with(address(1), envelope(3, 10), Some(KEY.hash), NOW).wait();
    assert_eq!(with_key, Err(SubmitError::Blocked));
    assert!(from(201, 4).is_ok());
    assert!(store.submit(address(1), sealed(5, 10), NOW).wait().is_ok(), "who sent it is not known");
    submit(&*store, 2, 6, NOW);
    // What waited before stays, and its repetition is one.
    assert_eq!(waiting(&*store, 1), [1, 4, 5]);
    let again = store.submit(address(1), envelope(1, 10), NOW).wait();
    assert!(matches!(again, Ok(Submitted::AlreadyStored { .. })), "{again:?}");
    // In one go with others, so that they may share a transaction, and leave no hole behind.
    let pending = [(200, 7), (201, 8), (200, 9), (202, 10)]
        .map(|(n, id)| store.submit(address(1), NewEnvelope { source: Some(address(n)), ..envelope(id, 10) }, NOW));
    let taken = pending.map(|pending| pending.wait().is_ok());
    assert_eq!(taken, [false, true, false, true]);
    assert_eq!(waiting(&*store, 1), [1, 4, 5, 8, 10]);
    assert_eq!(block(200, false), Ok(()));
    assert_eq!(block(200, false), Ok(()), "twice is once");
    assert!(from(200, 11).is_ok());
    // An account that is not there blocks nobody, and comes without blocks.
    assert_eq!(store.set_blocked(account(9), account(200), true).wait(), Ok(()));
    store.register(new_account(9, None)).wait().unwrap();
    submit(&*store, 9, 12, NOW);
}

pub fn an_account_blocks_so_many_others<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let other = |n: usize| {
        let mut id = [0xB0; 16];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        kuvert_types::AccountId::from_bytes(id)
    };
    let pending: Vec<_> = (0..MAX_BLOCKED).map(|n| store.set_blocked(account(1), other(n), true)).collect();
    pending.into_iter().for_each(|pending| pending.wait().unwrap());
    let one_more = || store.set_blocked(account(1), other(MAX_BLOCKED), true).wait();
    assert_eq!(one_more(), Err(SetBlockedError::TooMany));
    assert_eq!(store.set_blocked(account(1), other(0), true).wait(), Ok(()), "that one is blocked already");
    assert_eq!(store.set_blocked(account(2), other(0), true).wait(), Ok(()));
    assert_eq!(store.set_blocked(account(1), other(0), false).wait(), Ok(()));
    assert_eq!(one_more(), Ok(()));
}

pub fn acknowledging_deletes_up_to_the_cursor_only<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let cursors: Vec<_> = (0..5).map(|n| submit(&*store, 1, n, NOW)).collect();
    assert_eq!(store.acknowledge(address(1), Cursor::START).wait(), Ok(0));
    assert_eq!(store.acknowledge(address(1), cursors[1]).wait(), Ok(2));
    assert_eq!(store.acknowledge(address(1), cursors[1]).wait(), Ok(0), "twice is once");
    assert_eq!(waiting(&*store, 1), [2, 3, 4]);
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting { count: 3, bytes: 30, expired: 0 }));
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(3));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
}

pub fn cursors_are_never_given_twice<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let mut highest = Cursor::START;
    for n in 0..20 {
        let cursor = submit(&*store, 1, n, NOW);
        assert!(cursor > highest);
        highest = cursor;
        assert_eq!(store.acknowledge(address(1), cursor).wait(), Ok(1));
    }
}

// ---- expiry

pub fn expiry_takes_the_oldest_first_in_slices<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    for n in 0..10 {
        submit(&*store, 1 + (n % 2) as u8, n, NOW + u64::from(n) * 10_000);
    }
    assert_eq!(store.expire(NOW, 100).wait(), Ok(0), "not a millisecond early");
    assert_eq!(store.expire(NOW + 50_001, 0).wait(), Ok(0));
    assert_eq!(store.expire(NOW + 50_001, 4).wait(), Ok(4));
    assert_eq!((waiting(&*store, 1), waiting(&*store, 2)), (vec![4, 6, 8], vec![5, 7, 9]));
    assert_eq!(store.expire(NOW + 50_001, 4).wait(), Ok(2));
    assert_eq!(store.expire(NOW + 50_001, 4).wait(), Ok(0));
    assert_eq!((waiting(&*store, 1), waiting(&*store, 2)), (vec![6, 8], vec![7, 9]));
    assert_eq!(store.expire(u64::MAX, 4).wait(), Ok(4));
    assert_eq!(store.stats().wait().unwrap().waiting, 0);
}

pub fn expiry_finds_mail_whatever_the_clock_did<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    const HOUR: u64 = 3_600_000;
    // Ahead, back, a little disorder, far back.
    let times = [NOW, NOW + 100 * HOUR, NOW + HOUR, NOW + HOUR - 3, NOW + 2 * HOUR, 5, NOW + 3 * HOUR];
    for (n, accepted_at) in (0..).zip(times) {
        submit(&*store, 1, n, accepted_at);
    }
    assert_eq!(store.expire(NOW + 1, 1).wait(), Ok(1));
    assert_eq!(store.expire(NOW + 1, 9).wait(), Ok(1));
    assert_eq!(waiting(&*store, 1), [1, 2, 3, 4, 6]);
    assert_eq!(store.expire(NOW + HOUR, 9).wait(), Ok(1));
    assert_eq!(waiting(&*store, 1), [1, 2, 4, 6]);
    assert_eq!(store.expire(NOW + 4 * HOUR, 9).wait(), Ok(3));
    assert_eq!(waiting(&*store, 1), [1]);
    submit(&*store, 1, 10, NOW + 4 * HOUR);
    assert_eq!(store.expire(NOW + 5 * HOUR, 9).wait(), Ok(1), "mail behind a newer one in an older era");
    assert_eq!(waiting(&*store, 1), [1]);
    submit(&*store, 1, u32::MAX, u64::MAX);
    assert_eq!(store.expire(NOW + 101 * HOUR, 9).wait(), Ok(1));
    assert_eq!(waiting(&*store, 1), [u32::MAX]);
}

pub fn mail_from_the_future_is_restamped_and_expires_in_time<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let times = [NOW, NOW + 100_000, NOW + 200_000, NOW + 3_000];
    for (n, accepted_at) in (0..).zip(times) {
        submit(&*store, 1, n, accepted_at);
    }
    assert_eq!(store.restamp(NOW + 200_000).wait(), Ok(0));
    assert_eq!(store.restamp(NOW + 5_000).wait(), Ok(2));
    let page = store.read(address(1), Cursor::START, 9, 9_999).wait().unwrap();
    let stamps: Vec<_> = page.envelopes.iter().map(|envelope| envelope.accepted_at - NOW).collect();
    assert_eq!(stamps, [0, 5_000, 5_000, 3_000]);
    submit(&*store, 1, 4, NOW + 6_000);
    assert_eq!(store.expire(NOW + 5_000, 9).wait(), Ok(2));
    assert_eq!(waiting(&*store, 1), [1, 2, 4]);
    assert_eq!(store.expire(NOW + 5_001, 9).wait(), Ok(2));
    assert_eq!(store.expire(NOW + 6_001, 9).wait(), Ok(1));
    assert_eq!(store.restamp(0).wait(), Ok(0));
}

pub fn the_time_is_remembered<B: Backend>(backend: &B) {
    let store = backend.open();
    assert_eq!(store.times().wait(), Ok(Times::default()));
    register(&*store, 1);
    assert_eq!(store.times().wait(), Ok(Times { known: None, newest: Some(NOW) }));
    for doubt in [None, Some(Doubt { step_ms: -5, ran_ms: 7 }), Some(Doubt { step_ms: i64::MAX, ran_ms: 0 }), None] {
        let known = KnownTime { at: NOW + 9, doubt };
        assert_eq!(store.note_time(known).wait(), Ok(()));
        assert_eq!(store.times().wait().unwrap().known, Some(known));
    }
}

pub fn the_time_survives_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    submit(&*store, 1, 1, NOW + 50);
    submit(&*store, 1, 2, NOW + 3);
    let known = KnownTime { at: NOW + 9, doubt: Some(Doubt { step_ms: 11, ran_ms: 7 }) };
    store.note_time(known).wait().unwrap();
    store.close().wait().unwrap();
    drop(store);
    assert_eq!(backend.open().times().wait(), Ok(Times { known: Some(known), newest: Some(NOW + 50) }));
}

pub fn expired_mail_is_counted_until_told<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    for n in 0..3 {
        submit(&*store, 1, n, NOW);
    }
    submit(&*store, 1, 3, NOW + 10_000);
    assert_eq!(store.expire(NOW + 1, 100).wait(), Ok(3));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting { count: 1, bytes: 10, expired: 3 }));
    assert_eq!(store.waiting(address(2)).wait(), Ok(Waiting::default()));
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(1));
    assert_eq!(store.acknowledge_expired(address(1), 0).wait(), Ok(()));
    assert_eq!(store.acknowledge_expired(address(1), 2).wait(), Ok(()));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting { count: 0, bytes: 0, expired: 1 }));
    submit(&*store, 1, 4, NOW);
    assert_eq!(store.expire(NOW + 1, 100).wait(), Ok(1));
    assert_eq!(store.acknowledge_expired(address(1), u64::MAX).wait(), Ok(()));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
    assert_eq!(store.acknowledge_expired(address(1), 1).wait(), Ok(()));
}

// ---- accounts and devices

pub fn accounts_are_found_by_id_and_name<B: Backend>(backend: &B) {
    let store = backend.open();
    let mut new = new_account(1, Some("alice"));
    new.phone = Some("+4930123456".into());
    store.register(new.clone()).wait().unwrap();
    store.register(new_account(2, None)).wait().unwrap();
    let record = store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap();
    assert_eq!(
        (record.account, record.account_key, &record.device_list, &record.name, &record.phone, record.registered_at),
        (new.account, new.account_key, &new.device_list, &new.name, &new.phone, new.registered_at)
    );
    assert_eq!(record.devices.len(), 1);
    assert_eq!(record.devices[0].address, address(1));
    assert_eq!(record.devices[0].signing_key, new.device.signing_key);
    assert_eq!(record.devices[0].certificate, new.device.certificate);
    assert_eq!(store.device(address(1)).wait(), Ok(Some(record.devices[0].clone())));
    assert_eq!(store.account(AccountBy::Name("alice".into())).wait(), Ok(Some(record)));
    for name in ["Alice", "alic", "alice ", ""] {
        assert_eq!(store.account(AccountBy::Name(name.into())).wait(), Ok(None), "{name:?}");
    }
    assert_eq!(store.account(AccountBy::Id(account(3))).wait(), Ok(None));
    assert_eq!(store.account(AccountBy::Id(account(2))).wait().unwrap().unwrap().name, None);
}

pub fn names_and_ids_are_unique<B: Backend>(backend: &B) {
    let store = backend.open();
    store.register(new_account(1, Some("alice"))).wait().unwrap();
    assert_eq!(store.register(new_account(1, Some("other"))).wait(), Err(RegisterError::AccountExists));
    assert_eq!(store.register(new_account(2, Some("alice"))).wait(), Err(RegisterError::NameTaken));
    assert_eq!(store.device(address(2)).wait(), Ok(None), "nothing of a refused account is left");
    assert_eq!(store.account(AccountBy::Name("other".into())).wait(), Ok(None));
    store.register(new_account(2, Some("bob"))).wait().unwrap();
    // At the same moment: one of them.
    let rivals = [3, 4, 5].map(|n| store.register(new_account(n, Some("carol")))).map(|pending| pending.wait());
    assert_eq!(rivals.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.stats().wait().unwrap().accounts, 3);
}

pub fn an_invitation_is_good_for_its_uses_and_until_its_end<B: Backend>(backend: &B) {
    let store = backend.open();
    let invite = |hash, uses, expires_at| {
        store.add_invitation(NewInvitation { hash: [hash; 32], uses, created_at: NOW - 1, expires_at }).wait().unwrap();
    };
    let register = |n, hash| {
        store.register(NewAccount { invitation: Some([hash; 32]), ..new_account(n, Some(&format!("n{n}"))) }).wait()
    };
    assert_eq!(register(1, 7), Err(RegisterError::Invitation));
    invite(7, 2, NOW + 1);
    assert_eq!(register(1, 7), Ok(()));
    // What fails for another reason costs no use.
    assert_eq!(register(1, 7), Err(RegisterError::AccountExists));
    let taken = NewAccount { invitation: Some([7; 32]), ..new_account(2, Some("n1")) };
    assert_eq!(store.register(taken).wait(), Err(RegisterError::NameTaken));
    assert_eq!(register(2, 7), Ok(()));
    assert_eq!(register(3, 7), Err(RegisterError::Invitation));
    assert_eq!(store.device(address(3)).wait(), Ok(None));
    // At its end it is good no more; made again it is.
    invite(8, 1, NOW);
    assert_eq!(register(3, 8), Err(RegisterError::Invitation));
    invite(8, 1, NOW + 1);
    assert_eq!(register(3, 8), Ok(()));
}

pub fn an_account_is_changed_and_its_name_stays_unique<B: Backend>(backend: &B) {
    let store = backend.open();
    store.register(NewAccount { phone: Some("+4930123456".into()), ..new_account(1, Some("alice")) }).wait().unwrap();
    store.register(new_account(2, Some("bob"))).wait().unwrap();
    let change = |n, name: Option<Option<&str>>, phone: Option<Option<&str>>| {
        let owned = |value: Option<Option<&str>>| value.map(|value| value.map(str::to_owned));
        store.update_account(account(n), AccountChange { name: owned(name), phone: owned(phone) }).wait()
    };
    let stored = || {
        let record = store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap();
        (record.name, record.phone)
    };
    assert_eq!(change(9, Some(Some("carol")), None), Err(UpdateAccountError::UnknownAccount));
    assert_eq!(change(1, Some(Some("bob")), Some(None)), Err(UpdateAccountError::NameTaken));
    assert_eq!(stored(), (Some("alice".into()), Some("+4930123456".into())), "all or nothing");
    assert_eq!(change(1, None, None), Ok(()));
    assert_eq!(change(1, Some(Some("alice")), None), Ok(()), "one's own name is not taken");
    assert_eq!(change(1, Some(Some("carol")), Some(Some("+4930654321"))), Ok(()));
    assert_eq!(stored(), (Some("carol".into()), Some("+4930654321".into())));
    assert_eq!(store.account(AccountBy::Name("alice".into())).wait(), Ok(None));
    assert_eq!(change(2, Some(Some("alice")), None), Ok(()), "a name that was given up is free");
    assert_eq!(change(1, Some(None), Some(None)), Ok(()));
    assert_eq!(stored(), (None, None));
    assert_eq!(change(2, Some(None), None), Ok(()), "two without a name do not have the same one");
}

pub fn a_deleted_account_leaves_nothing_and_its_name_is_free<B: Backend>(backend: &B) {
    let store = backend.open();
    for (n, name) in [(1, "alice"), (2, "bob")] {
        store.register(new_account(n, Some(name))).wait().unwrap();
        store.publish_prekeys(address(n), kept_prekeys(1)).wait().unwrap();
        store.publish_prekeys(address(n), one_time_prekeys(0..3)).wait().unwrap();
        submit(&*store, n, 1, NOW);
        submit(&*store, n, 2, NOW + 10_000);
    }
    assert_eq!(store.expire(NOW + 1, 9).wait(), Ok(2));
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    store.set_blocked(account(1), account(200), true).wait().unwrap();
    store.set_blocked(account(2), account(1), true).wait().unwrap();
    store.set_blocked(account(2), account(1), false).wait().unwrap();
    let from_alice = NewEnvelope { source: Some(address(1)), ..envelope(7, 10) };
    store.submit(address(2), from_alice, NOW + 20_000).wait().unwrap();

    assert_eq!(store.delete_account(account(1)).wait(), Ok(true));
    assert_eq!(store.delete_account(account(1)).wait(), Ok(false), "twice is once");
    assert_eq!(store.account(AccountBy::Id(account(1))).wait(), Ok(None));
    assert_eq!(store.account(AccountBy::Name("alice".into())).wait(), Ok(None));
    assert_eq!(store.device(address(1)).wait(), Ok(None));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts::default()));
    assert_eq!(store.take_bundle(address(1)).wait(), Err(TakeBundleError::UnknownDevice));
    assert_eq!(store.submit(address(1), envelope(3, 10), NOW).wait(), Err(SubmitError::UnknownMailbox));
    let totals = Stats { accounts: 1, devices: 1, waiting: 2, waiting_bytes: 20, one_time_prekeys: 6 };
    assert_eq!(store.stats().wait(), Ok(totals));
    assert_eq!(store.gauges().wait(), Ok(Gauges { devices: 1, waiting: 2, waiting_bytes: 20 }));

    // What it sent is still delivered, and says who it is from.
    let page = store.read(address(2), Cursor::START, ALL.0, ALL.1).wait().unwrap();
    assert_eq!(page.envelopes.iter().map(number).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(page.envelopes[1].source, Some(address(1)));

    // Somebody else may take the name; whoever has the keys may come back, and begins with nothing.
    store.register(new_account(3, Some("alice"))).wait().unwrap();
    store.register(new_account(1, None)).wait().unwrap();
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
    assert_eq!(store.access_key(address(1)).wait(), Ok(None));
    assert_eq!(store.publish_prekeys(address(1), kept_prekeys(1)).wait(), Ok(()));
    assert_eq!(
        submit(&*store, 1, 1, NOW).get(),
        store.read(address(1), Cursor::START, 1, 1).wait().unwrap().envelopes[0].cursor.get()
    );
}

pub fn deleting_shares_a_transaction_with_what_comes_before_and_after<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    // Without waiting in between, so that all may be one batch.
    let before = store.submit(address(1), envelope(1, 10), NOW);
    let deleted = store.delete_account(account(1));
    let after = store.submit(address(1), envelope(2, 10), NOW);
    let again = store.register(new_account(1, None));
    let last = store.submit(address(1), envelope(3, 10), NOW);
    assert!(before.wait().is_ok());
    assert_eq!(deleted.wait(), Ok(true));
    assert_eq!(after.wait(), Err(SubmitError::UnknownMailbox));
    assert_eq!(again.wait(), Ok(()));
    assert!(last.wait().is_ok());
    assert_eq!(waiting(&*store, 1), [3]);
    assert_eq!(store.gauges().wait().unwrap(), Gauges { devices: 2, waiting: 1, waiting_bytes: 10 });
}

pub fn device_lists_are_compared_and_set<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let list = |number| NumberedDeviceList { number, bytes: vec![number as u8; 200].into() };
    let kept = || vec![DeviceId::PRIMARY];
    let replace = |expected, number| store.update_devices(account(1), expected, list(number), kept(), vec![]).wait();
    assert_eq!(replace(0, 2), Err(UpdateDevicesError::Conflict { stored: 1 }));
    assert_eq!(replace(1, 5), Ok(vec![]));
    assert_eq!(replace(1, 6), Err(UpdateDevicesError::Conflict { stored: 5 }));
    let stored = store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap().device_list;
    assert_eq!(stored, list(5));
    let unknown = store.update_devices(account(9), 1, list(2), kept(), vec![]).wait();
    assert_eq!(unknown, Err(UpdateDevicesError::UnknownAccount));
}

pub fn a_device_that_a_list_leaves_out_goes_with_all_that_is_its<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    for n in [1, 2] {
        store.publish_prekeys(address(n), kept_prekeys(1)).wait().unwrap();
        store.publish_prekeys(address(n), one_time_prekeys(0..3)).wait().unwrap();
        submit(&*store, n, 1, NOW);
        submit(&*store, n, 2, NOW + 10_000);
    }
    assert_eq!(store.expire(NOW + 1, 9).wait(), Ok(2));
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    let list = NumberedDeviceList { number: 2, bytes: vec![2; 200].into() };
    let other = vec![DeviceId::new(7).unwrap()];
    let replace = |expected| store.update_devices(account(1), expected, list.clone(), other.clone(), vec![]).wait();
    assert_eq!(replace(0), Err(UpdateDevicesError::Conflict { stored: 1 }));
    assert_eq!(store.gauges().wait().unwrap().devices, 2, "a refusal drops nothing");
    assert_eq!(replace(1), Ok(vec![DeviceId::PRIMARY]));

    let record = store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap();
    assert_eq!((record.device_list, record.devices), (list.clone(), vec![]));
    assert_eq!(store.device(address(1)).wait(), Ok(None));
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts::default()));
    assert_eq!(store.take_bundle(address(1)).wait(), Err(TakeBundleError::UnknownDevice));
    assert_eq!(store.submit(address(1), envelope(3, 10), NOW).wait(), Err(SubmitError::UnknownMailbox));
    let left = Stats { accounts: 2, devices: 1, waiting: 1, waiting_bytes: 10, one_time_prekeys: 6 };
    assert_eq!(store.stats().wait(), Ok(left));
    assert_eq!(store.gauges().wait(), Ok(Gauges { devices: 1, waiting: 1, waiting_bytes: 10 }));
    assert_eq!(store.waiting(address(2)).wait(), Ok(Waiting { count: 1, bytes: 10, expired: 1 }));
    store.delete_account(account(1)).wait().unwrap();
    register_again_empty(&*store);
}

pub fn a_device_is_added_with_the_list_that_names_it<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    submit(&*store, 1, 1, NOW);
    let new = |number: u32, byte: u8| NewDevice {
        device: DeviceId::new(number).unwrap(),
        signing_key: DeviceSigningKey::from_bytes([byte; 32]),
        certificate: vec![byte; 245].into(),
    };
    let list = |number| NumberedDeviceList { number, bytes: vec![number as u8; 200].into() };
    let primary = || vec![DeviceId::PRIMARY];
    let update =
        |expected, number, kept, added| store.update_devices(account(1), expected, list(number), kept, added).wait();
    let second = Address { device: DeviceId::new(2).unwrap(), ..address(1) };
    let refused = update(0, 2, primary(), vec![new(2, 7)]);
    assert_eq!(refused, Err(UpdateDevicesError::Conflict { stored: 1 }));
    assert_eq!(store.device(second).wait(), Ok(None), "a refusal adds nothing");
    assert_eq!(update(1, 2, primary(), vec![new(2, 7)]), Ok(vec![]));

    let device = store.device(second).wait().unwrap().unwrap();
    assert_eq!((device.signing_key, device.last_seen_day), (DeviceSigningKey::from_bytes([7; 32]), None));
    let record = store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap();
    assert_eq!((record.device_list, record.devices.len()), (list(2), 2));
    assert_eq!(store.waiting(second).wait(), Ok(Waiting::default()));
    assert_eq!(store.take_bundle(second).wait(), Err(TakeBundleError::NoPrekeys));
    store.publish_prekeys(second, kept_prekeys(1)).wait().unwrap();
    assert!(store.take_bundle(second).wait().is_ok());
    store.submit(second, envelope(2, 10), NOW).wait().unwrap();
    assert_eq!(store.waiting(second).wait().unwrap().count, 1);
    assert_eq!(waiting(&*store, 1), [1], "what the first device has stays");

    // One goes and one comes, in one step; also under the number of the one that goes, which then has nothing of it.
    let both = update(2, 3, primary(), vec![new(2, 8), new(3, 9)]);
    assert_eq!(both, Ok(vec![DeviceId::new(2).unwrap()]));
    assert_eq!(store.waiting(second).wait(), Ok(Waiting::default()));
    assert_eq!(store.take_bundle(second).wait(), Err(TakeBundleError::NoPrekeys));
    let key = store.device(second).wait().unwrap().unwrap().signing_key;
    assert_eq!(key, DeviceSigningKey::from_bytes([8; 32]));
    assert_eq!(store.gauges().wait().unwrap().devices, 4);
    assert_eq!(store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap().devices.len(), 3);
    store.submit(second, envelope(3, 10), NOW).wait().unwrap();
    assert_eq!(store.delete_account(account(1)).wait(), Ok(true));
    assert_eq!(store.device(second).wait(), Ok(None));
}

/// What was there of account 1 before does not come back with its address.
fn register_again_empty(store: &dyn Store) {
    store.register(new_account(1, None)).wait().unwrap();
    assert_eq!(store.waiting(address(1)).wait(), Ok(Waiting::default()));
    assert_eq!(store.publish_prekeys(address(1), kept_prekeys(1)).wait(), Ok(()));
}

// ---- prekeys

pub fn an_access_key_is_its_accounts_until_it_is_replaced_or_taken_away<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let key = |n: u8| store.access_key(address(n)).wait().unwrap();
    assert_eq!((key(1), key(2), key(9)), (None, None, None));
    for set in [Some((1, true)), Some((1, false)), Some((2, true)), None, Some((3, false))] {
        let set = set.map(|(byte, sealed)| StoredAccessKey { hash: [byte; 32], sealed });
        assert_eq!(store.set_access_key(account(1), set).wait(), Ok(()));
        assert_eq!((key(1), key(2)), (set, None));
    }
    assert_eq!(store.set_access_key(account(9), Some(KEY)).wait(), Ok(()), "nobody: nothing happens");
    assert_eq!(key(9), None);
    let other_device = Address { device: DeviceId::new(2).unwrap(), ..address(1) };
    assert_eq!(store.access_key(other_device).wait(), Ok(None), "a device that does not exist");
}

pub fn the_last_day_seen_only_rises<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let seen = |n: u8| store.device(address(n)).wait().unwrap().and_then(|device| device.last_seen_day);
    assert_eq!(seen(1), None);
    for (day, expected) in [(0, 0), (20_000, 20_000), (19_999, 20_000), (20_000, 20_000), (20_001, 20_001)] {
        assert_eq!(store.note_seen(address(1), day).wait(), Ok(()));
        assert_eq!(seen(1), Some(expected));
    }
    assert_eq!(seen(2), None);
    assert_eq!(store.note_seen(address(9), 1).wait(), Ok(()));
}

pub fn bundles_give_each_one_time_key_once<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys(0..3)).wait().unwrap();
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts { one_time: 3, one_time_kem: 3 }));
    for id in 0..3 {
        let bundle = store.take_bundle(address(1)).wait().unwrap();
        assert_eq!(bundle.certificate, new_account(1, None).device.certificate);
        assert_eq!(bundle.signed, signed_key(1));
        assert_eq!((bundle.kem, bundle.kem_is_last_resort), (signed_key(id), false));
        assert_eq!(bundle.one_time, Some(unsigned_key(id)));
    }
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts::default()));
}

pub fn bundles_fall_back_to_the_last_resort<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let mut prekeys = kept_prekeys(1);
    prekeys.one_time = vec![unsigned_key(7)];
    store.publish_prekeys(address(1), prekeys).wait().unwrap();
    let bundle = store.take_bundle(address(1)).wait().unwrap();
    assert_eq!((bundle.kem, bundle.kem_is_last_resort, bundle.one_time), (signed_key(1), true, Some(unsigned_key(7))));
    store.publish_prekeys(address(1), kept_prekeys(2)).wait().unwrap();
    for _ in 0..2 {
        let bundle = store.take_bundle(address(1)).wait().unwrap();
        assert_eq!((bundle.kem, bundle.kem_is_last_resort, bundle.one_time), (signed_key(2), true, None));
        assert_eq!(bundle.signed, signed_key(2));
    }
}

pub fn a_last_resort_bundle_leaves_the_one_time_keys<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    assert_eq!(store.last_resort_bundle(address(1)).wait(), Err(TakeBundleError::NoPrekeys));
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys(0..3)).wait().unwrap();
    let bundle = store.last_resort_bundle(address(1)).wait().unwrap();
    assert_eq!((bundle.kem, bundle.kem_is_last_resort, bundle.one_time), (signed_key(1), true, None));
    assert_eq!(bundle.signed, signed_key(1));
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts { one_time: 3, one_time_kem: 3 }));
}

pub fn a_sparing_bundle_leaves_the_reserve_of_each_kind<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys(0..3)).wait().unwrap();
    let more = NewPrekeys { one_time: vec![unsigned_key(3)], ..NewPrekeys::default() };
    store.publish_prekeys(address(1), more).wait().unwrap();
    let take = |reserve| {
        let bundle = store.take_bundle_sparing(address(1), reserve).wait().unwrap();
        (bundle.one_time.is_some(), !bundle.kem_is_last_resort)
    };
    assert_eq!(take(5), (false, false));
    assert_eq!(take(4), (true, false));
    assert_eq!(take(3), (true, true));
    assert_eq!(take(3), (false, false));
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts { one_time: 2, one_time_kem: 2 }));
    assert_eq!(take(0), (true, true));
}

pub fn bundles_need_a_signed_and_a_last_resort_key<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    store.publish_prekeys(address(1), one_time_prekeys(0..3)).wait().unwrap();
    assert_eq!(store.take_bundle(address(1)).wait(), Err(TakeBundleError::NoPrekeys));
    let signed_only = NewPrekeys { signed: Some(signed_key(1)), ..NewPrekeys::default() };
    store.publish_prekeys(address(1), signed_only).wait().unwrap();
    assert_eq!(store.take_bundle(address(1)).wait(), Err(TakeBundleError::NoPrekeys));
    assert_eq!(store.take_bundle(address(2)).wait(), Err(TakeBundleError::NoPrekeys));
    let counts = store.count_prekeys(address(1)).wait().unwrap();
    assert_eq!(counts, PrekeyCounts { one_time: 3, one_time_kem: 3 }, "a refusal takes nothing");
}

pub fn prekey_ids_never_come_back<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    store.publish_prekeys(address(1), kept_prekeys(5)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys([3, 8])).wait().unwrap();
    for _ in 0..2 {
        store.take_bundle(address(1)).wait().unwrap();
    }
    let publish = |prekeys| store.publish_prekeys(address(1), prekeys).wait();
    let reused = |kind, id| Err(PublishPrekeysError::Reused { kind, id });
    for id in [0, 3, 7, 8] {
        assert_eq!(publish(one_time_prekeys([id])), reused(PrekeyKind::OneTime, id));
        let kem = NewPrekeys { one_time_kem: vec![signed_key(id)], ..NewPrekeys::default() };
        assert_eq!(publish(kem), reused(PrekeyKind::OneTimeKem, id));
    }
    for id in [4, 5] {
        assert_eq!(publish(kept_prekeys(id)), reused(PrekeyKind::Signed, id));
        let last_resort = NewPrekeys { last_resort_kem: Some(signed_key(id)), ..NewPrekeys::default() };
        assert_eq!(publish(last_resort), reused(PrekeyKind::LastResortKem, id));
    }
    assert_eq!(publish(one_time_prekeys([9, 9])), reused(PrekeyKind::OneTime, 9));
    assert_eq!(publish(one_time_prekeys([10, 9])), reused(PrekeyKind::OneTime, 9));
    assert_eq!(publish(one_time_prekeys([9, u32::MAX])), Ok(()));
    assert_eq!(store.publish_prekeys(address(2), one_time_prekeys([3])).wait(), Ok(()), "ids are the device's own");
}

pub fn publishing_is_all_or_nothing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys([5])).wait().unwrap();
    let mut prekeys = one_time_prekeys([6]);
    prekeys.signed = Some(signed_key(2));
    prekeys.one_time_kem = vec![signed_key(6), signed_key(5)];
    assert!(store.publish_prekeys(address(1), prekeys).wait().is_err());
    assert_eq!(store.count_prekeys(address(1)).wait(), Ok(PrekeyCounts { one_time: 1, one_time_kem: 1 }));
    assert_eq!(store.take_bundle(address(1)).wait().unwrap().signed, signed_key(1));
    assert_eq!(store.publish_prekeys(address(1), one_time_prekeys([6])).wait(), Ok(()));
}

pub fn one_time_prekeys_are_bounded<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let max = MAX_ONE_TIME_PREKEYS as u32;
    let publish = |ids| store.publish_prekeys(address(1), ids).wait();
    let too_many = Err(PublishPrekeysError::TooMany { kind: PrekeyKind::OneTime });
    assert_eq!(publish(one_time_prekeys(0..max + 1)), too_many);
    assert_eq!(publish(one_time_prekeys(0..max)), Ok(()));
    assert_eq!(publish(one_time_prekeys([max])), too_many);
    assert_eq!(publish(kept_prekeys(1)), Ok(()));
    store.take_bundle(address(1)).wait().unwrap();
    assert_eq!(publish(one_time_prekeys([max])), Ok(()));
}

pub fn concurrent_takers_never_share_a_key<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    let max = MAX_ONE_TIME_PREKEYS as u32;
    store.publish_prekeys(address(1), one_time_prekeys(10..10 + max)).wait().unwrap();
    let taken: Vec<_> = thread::scope(|scope| {
        let takers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..20).map(|_| store.take_bundle(address(1)).wait().unwrap()).collect::<Vec<_>>()))
            .collect();
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    let one_time: Vec<_> = taken.iter().filter_map(|bundle| bundle.one_time.as_ref()).map(|key| key.id).collect();
    let kem: Vec<_> = taken.iter().filter(|bundle| !bundle.kem_is_last_resort).map(|bundle| bundle.kem.id).collect();
    for ids in [one_time, kem] {
        assert_eq!(ids.len() as u32, max);
        assert_eq!(ids.into_iter().collect::<HashSet<_>>(), (10..10 + max).collect());
    }
}

// ---- many at once

pub fn a_session_s_submits_keep_their_order<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let mut session = store.session();
    let pending: Vec<_> = (0..3_000).map(|n| session.submit(address(1), sealed(n, 10), None, NOW)).collect();
    let cursors: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap().cursor()).collect();
    assert!(cursors.is_sorted_by(|a, b| a < b));
    assert_eq!(waiting(&*store, 1), (0..3_000).collect::<Vec<_>>());
}

pub fn sessions_share_one_store_and_outlive_it<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let (mut one, mut other) = (store.session(), store.session());
    let first = one.submit(address(1), sealed(1, 10), None, NOW).wait().unwrap();
    let second = other.submit(address(1), sealed(2, 10), None, NOW).wait().unwrap();
    assert!(first.cursor() < second.cursor());
    let again = other.submit(address(1), sealed(1, 10), None, NOW).wait();
    assert_eq!(again, Ok(Submitted::AlreadyStored { cursor: first.cursor() }));
    drop(one);
    assert_eq!(waiting(&*store, 1), [1, 2], "what a session stored stays");
    assert_eq!(store.close().wait(), Ok(()));
    drop(store);
    let stopped = SubmitError::from(StoreError::from(Unavailable::Stopped));
    assert_eq!(other.submit(address(1), sealed(3, 10), None, NOW).wait(), Err(stopped));
}

pub fn concurrent_submitters_and_a_reader_see_no_holes<B: Backend>(backend: &B) {
    const SENDERS: u32 = 4;
    const EACH: u32 = 300;
    let store = backend.open();
    register(&*store, 1);
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut after) = (Vec::new(), Cursor::START);
            loop {
                let last = done.load(Ordering::SeqCst);
                let page = store.read(address(1), after, 7, usize::MAX).wait().unwrap();
                after = page.envelopes.last().map_or(after, |envelope| envelope.cursor);
                let empty = page.envelopes.is_empty();
                seen.extend(page.envelopes);
                if seen.len() % 3 == 0 {
                    store.acknowledge(address(1), after).wait().unwrap();
                }
                if last && empty {
                    return seen;
                }
            }
        });
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..EACH {
                        store.submit(address(1), sealed(sender * 10_000 + n, 10), NOW).wait().unwrap();
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert!(seen.is_sorted_by(|a, b| a.cursor < b.cursor));
    for sender in 0..SENDERS {
        let of_sender: Vec<_> = seen.iter().map(number).filter(|n| n / 10_000 == sender).collect();
        assert_eq!(of_sender, (0..EACH).map(|n| sender * 10_000 + n).collect::<Vec<_>>());
    }
}

// ---- the whole

pub fn totals_add_up<B: Backend>(backend: &B) {
    let store = backend.open();
    assert_eq!(store.stats().wait(), Ok(Stats::default()));
    register(&*store, 3);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys(0..4)).wait().unwrap();
    store.take_bundle(address(1)).wait().unwrap();
    for n in 0..3 {
        submit(&*store, 2, n, NOW);
    }
    store.submit(address(3), envelope(9, 5), NOW).wait().unwrap();
    let want = Stats { accounts: 3, devices: 3, waiting: 4, waiting_bytes: 35, one_time_prekeys: 6 };
    assert_eq!(store.stats().wait(), Ok(want));
    store.checkpoint().wait().unwrap();
    assert_eq!(store.stats().wait(), Ok(want));
    assert_eq!(store.gauges().wait(), Ok(Gauges { devices: 3, waiting: 4, waiting_bytes: 35 }));
    // What is delivered, expires or is refused is counted out, or never in.
    let first = store.read(address(2), Cursor::START, 1, 100).wait().unwrap().envelopes[0].cursor;
    store.acknowledge(address(2), first).wait().unwrap();
    store.submit(address(9), envelope(10, 5), NOW).wait().unwrap_err();
    store.submit(address(3), envelope(9, 5), NOW).wait().unwrap();
    assert_eq!(store.gauges().wait(), Ok(Gauges { devices: 3, waiting: 3, waiting_bytes: 25 }));
    store.expire(NOW + 1, 10).wait().unwrap();
    assert_eq!(store.gauges().wait(), Ok(Gauges { devices: 3, waiting: 0, waiting_bytes: 0 }));
}

pub fn a_closed_store_refuses<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let before = store.submit(address(1), envelope(1, 10), NOW);
    let close = store.close();
    assert!(before.wait().is_ok(), "what was asked before is done");
    assert_eq!(close.wait(), Ok(()));
    let stopped = || StoreError::Unavailable(Unavailable::Stopped);
    assert_eq!(store.submit(address(1), envelope(2, 10), NOW).wait(), Err(stopped().into()));
    assert_eq!(store.read(address(1), Cursor::START, 1, 1).wait(), Err(stopped()));
    assert_eq!(store.waiting(address(1)).wait(), Err(stopped()));
    assert_eq!(store.close().wait(), Err(stopped()));
}

// ---- durable backends

pub fn everything_survives_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    store.register(new_account(1, Some("alice"))).wait().unwrap();
    store.register(new_account(2, None)).wait().unwrap();
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys(0..4)).wait().unwrap();
    store.take_bundle(address(1)).wait().unwrap();
    for n in 0..5 {
        submit(&*store, 1, n, NOW + u64::from(n) * 10_000);
    }
    store.expire(NOW + 10_001, 10).wait().unwrap();
    let cursor = store.read(address(1), Cursor::START, 1, 1).wait().unwrap().envelopes[0].cursor;
    store.acknowledge(address(1), cursor).wait().unwrap();
    let look = |store: &dyn Store| {
        (
            store.stats().wait().unwrap(),
            store.account(AccountBy::Name("alice".into())).wait().unwrap(),
            store.read(address(1), Cursor::START, ALL.0, ALL.1).wait().unwrap(),
            store.waiting(address(1)).wait().unwrap(),
            store.count_prekeys(address(1)).wait().unwrap(),
        )
    };
    let before = look(&*store);
    assert_eq!(before.3, Waiting { count: 2, bytes: 20, expired: 2 });
    store.close().wait().unwrap();
    drop(store);
    let store = backend.open();
    assert_eq!(look(&*store), before);
    store.acknowledge_expired(address(1), 1).wait().unwrap();
    drop(store);
    assert_eq!(backend.open().waiting(address(1)).wait().unwrap().expired, 1);
}

pub fn access_keys_and_days_survive_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    let keys = [Some(KEY), Some(StoredAccessKey { sealed: true, ..KEY })];
    store.set_access_key(account(1), keys[0]).wait().unwrap();
    store.set_access_key(account(2), keys[1]).wait().unwrap();
    store.note_seen(address(1), 20_000).wait().unwrap();
    store.close().wait().unwrap();
    drop(store);
    let store = backend.open();
    assert_eq!([1, 2].map(|n| store.access_key(address(n)).wait().unwrap()), keys);
    assert_eq!(store.device(address(1)).wait().unwrap().unwrap().last_seen_day, Some(20_000));
}

pub fn an_added_device_survives_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let device = DeviceId::new(2).unwrap();
    let new =
        NewDevice { device, signing_key: DeviceSigningKey::from_bytes([7; 32]), certificate: vec![7; 245].into() };
    let list = NumberedDeviceList { number: 2, bytes: vec![2; 200].into() };
    store.update_devices(account(1), 1, list, vec![DeviceId::PRIMARY], vec![new]).wait().unwrap();
    store.close().wait().unwrap();
    drop(store);
    let store = backend.open();
    assert_eq!(store.account(AccountBy::Id(account(1))).wait().unwrap().unwrap().devices.len(), 2);
    assert!(store.submit(Address { device, ..address(1) }, envelope(1, 10), NOW).wait().is_ok());
}

pub fn shares_and_blocks_survive_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.set_access_key(account(1), Some(KEY)).wait().unwrap();
    store.set_blocked(account(1), account(77), true).wait().unwrap();
    store.set_blocked(account(1), account(78), true).wait().unwrap();
    store.set_blocked(account(1), account(78), false).wait().unwrap();
    let mut ids = 0;
    let full = |count| (count, SubmitError::Full(MailboxFull::Envelopes));
    assert_eq!(fill(&*store, None, &mut ids, |id| envelope_from(1, id, 10)), full(625));
    assert_eq!(fill(&*store, Some(KEY.hash), &mut ids, |id| envelope_from(2, id, 10)), full(2_500));
    assert_eq!(fill(&*store, None, &mut ids, |id| sealed(id, 10)), full(10_000));
    drop(store);
    let store = backend.open();
    assert_eq!(fill(&*store, None, &mut ids, |id| envelope_from(1, id, 10)), full(0));
    assert_eq!(fill(&*store, Some(KEY.hash), &mut ids, |id| envelope_from(2, id, 10)), full(0));
    assert_eq!(fill(&*store, None, &mut ids, |id| sealed(id, 10)), full(0));
    assert_eq!(fill(&*store, None, &mut ids, |id| envelope_from(3, id, 10)), full(546));
    assert_eq!(fill(&*store, Some(KEY.hash), &mut ids, |id| envelope_from(1, id, 10)), full(2_500));
    let from = |n| store.submit(address(1), NewEnvelope { source: Some(address(n)), ..envelope(1, 10) }, NOW).wait();
    assert_eq!(from(77), Err(SubmitError::Blocked));
    assert!(from(78).is_ok());
}

pub fn cursors_rise_over_restarts<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let mut highest = submit(&*store, 1, 0, NOW);
    drop(store);
    for n in 1..5 {
        let store = backend.open();
        store.acknowledge(address(1), highest).wait().unwrap();
        let cursor = submit(&*store, 1, n, NOW);
        assert!(cursor > highest);
        highest = cursor;
        drop(store);
        // Without writing anything.
        drop(backend.open());
    }
}

pub fn deduplication_survives_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    let cursor = submit(&*store, 1, 1, NOW);
    drop(store);
    let again = backend.open().submit(address(1), envelope(1, 10), NOW).wait();
    assert_eq!(again, Ok(Submitted::AlreadyStored { cursor }));
}

pub fn prekey_ids_survive_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    store.publish_prekeys(address(1), kept_prekeys(1)).wait().unwrap();
    store.publish_prekeys(address(1), one_time_prekeys([4])).wait().unwrap();
    store.take_bundle(address(1)).wait().unwrap();
    drop(store);
    let store = backend.open();
    assert!(store.take_bundle(address(1)).wait().unwrap().kem_is_last_resort);
    let again = store.publish_prekeys(address(1), one_time_prekeys([4])).wait();
    assert_eq!(again, Err(PublishPrekeysError::Reused { kind: PrekeyKind::OneTime, id: 4 }));
    assert!(store.publish_prekeys(address(1), kept_prekeys(1)).wait().is_err());
    assert_eq!(store.publish_prekeys(address(1), one_time_prekeys([5])).wait(), Ok(()));
}

pub fn dropping_finishes_what_was_asked<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 1);
    for n in 0..500 {
        drop(store.submit(address(1), sealed(n, 10), NOW));
    }
    drop(store);
    assert_eq!(waiting(&*backend.open(), 1), (0..500).collect::<Vec<_>>());
}

pub fn a_deletion_survives_closing<B: Backend>(backend: &B) {
    let store = backend.open();
    register(&*store, 2);
    for n in 0..3 {
        submit(&*store, 1, n, NOW);
    }
    assert_eq!(store.delete_account(account(1)).wait(), Ok(true));
    drop(store);
    let store = backend.open();
    assert_eq!(store.device(address(1)).wait(), Ok(None));
    assert_eq!(store.stats().wait().unwrap(), Stats { accounts: 1, devices: 1, ..Stats::default() });
    assert_eq!(store.expire(u64::MAX, 9).wait(), Ok(0));
}
