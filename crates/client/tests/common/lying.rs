//! A relay that lies: its store changes what it hands out.

use std::sync::{Arc, Mutex};

use kuvert_client::{AccountId, Address, Client};
use kuvert_relay::store::error::MailboxFull;
use kuvert_relay::store::memory::MemoryStore;
use kuvert_relay::store::{
    AccountBy, AccountChange, AccountRecord, Bundle, Cursor, DeviceRecord, FullMailbox, Gauges, KnownTime, NewAccount,
    NewDevice, NewEnvelope, NewInvitation, NewPrekeys, NumberedDeviceList, Page, Pending, PrekeyCounts,
    PublishPrekeysError, RegisterError, Session, SetBlockedError, Stats, Store, StoreError, StoredAccessKey,
    SubmitError, Submitted, TakeBundleError, Times, UpdateAccountError, UpdateDevicesError, Waiting,
};
use kuvert_types::{AccessKeyHash, DeviceId};

type Refuse = Arc<Mutex<Option<Box<dyn FnMut(&NewEnvelope) -> bool + Send>>>>;

type Lie<T> = Arc<Mutex<Option<Box<dyn FnMut(T) -> T + Send>>>>;

#[derive(Default)]
pub struct LyingStore {
    inner: MemoryStore,
    pub account: Lie<AccountRecord>,
    pub bundle: Lie<Bundle>,
    /// Envelopes on their way in.
    pub envelope: Lie<NewEnvelope>,
    /// Whether an envelope is refused, as if the mailbox were full.
    pub full: Refuse,
    /// What was submitted as it came.
    pub seen: Arc<Mutex<Vec<(Address, NewEnvelope)>>>,
    /// Accounts that were looked up, and devices of which bundles were taken.
    pub looked_up: Mutex<Vec<AccountBy>>,
    pub bundles_of: Mutex<Vec<Address>>,
    /// For each of them, whether it came with an access key.
    pub as_contact: Arc<Mutex<Vec<(Address, bool)>>>,
}

impl LyingStore {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn lie<T>(place: &Lie<T>, lie: impl FnMut(T) -> T + Send + 'static) {
        *place.lock().unwrap() = Some(Box::new(lie));
    }

    /// Refuses envelopes for which `full` says so.
    pub fn refuse(&self, full: impl FnMut(&NewEnvelope) -> bool + Send + 'static) {
        *self.full.lock().unwrap() = Some(Box::new(full));
    }

    pub fn stop<T>(place: &Mutex<Option<T>>) {
        *place.lock().unwrap() = None;
    }

    /// Puts an envelope into a mailbox, behind the back of every rule.
    pub async fn inject(&self, mailbox: Address, envelope: NewEnvelope) {
        self.offer(mailbox, envelope).await.unwrap();
    }

    /// The same, by the rules of mailboxes.
    pub async fn offer(&self, mailbox: Address, envelope: NewEnvelope) -> Result<Submitted, SubmitError> {
        self.inner.submit(mailbox, envelope, 1).await
    }

    fn tell_of_bundle(&self, truth: Pending<Bundle, TakeBundleError>) -> Pending<Bundle, TakeBundleError> {
        let (reply, pending) = Pending::channel();
        let _ = reply.send(futures_now(truth).map(|bundle| Self::tell(&self.bundle, bundle)));
        pending
    }

    fn tell<T>(place: &Lie<T>, truth: T) -> T {
        match &mut *place.lock().unwrap() {
            Some(lie) => lie(truth),
            None => truth,
        }
    }
}

/// One connection's submits, told as the store tells them.
struct LyingSession {
    inner: Box<dyn Session>,
    envelope: Lie<NewEnvelope>,
    full: Refuse,
    seen: Arc<Mutex<Vec<(Address, NewEnvelope)>>>,
    as_contact: Arc<Mutex<Vec<(Address, bool)>>>,
}

impl Session for LyingSession {
    fn submit(
        &mut self,
        mailbox: Address,
        envelope: NewEnvelope,
        key: Option<AccessKeyHash>,
        accepted_at: u64,
    ) -> Pending<Submitted, SubmitError> {
        if self.full.lock().unwrap().as_mut().is_some_and(|full| full(&envelope)) {
            return Pending::ready(Err(SubmitError::Full(MailboxFull::Bytes)));
        }
        self.seen.lock().unwrap().push((mailbox, envelope.clone()));
        self.as_contact.lock().unwrap().push((mailbox, key.is_some()));
        self.inner.submit(mailbox, LyingStore::tell(&self.envelope, envelope), key, accepted_at)
    }
}

impl Store for LyingStore {
    fn session(&self) -> Box<dyn Session> {
        Box::new(LyingSession {
            inner: self.inner.session(),
            envelope: Arc::clone(&self.envelope),
            full: Arc::clone(&self.full),
            seen: Arc::clone(&self.seen),
            as_contact: Arc::clone(&self.as_contact),
        })
    }

    fn read(&self, mailbox: Address, after: Cursor, limit: usize, max_bytes: usize) -> Pending<Page, StoreError> {
        self.inner.read(mailbox, after, limit, max_bytes)
    }

    fn acknowledge(&self, mailbox: Address, up_to: Cursor) -> Pending<u64, StoreError> {
        self.inner.acknowledge(mailbox, up_to)
    }

    fn waiting(&self, mailbox: Address) -> Pending<Waiting, StoreError> {
        self.inner.waiting(mailbox)
    }

    fn take_full(&self, mailbox: Address) -> Pending<Option<FullMailbox>, StoreError> {
        self.inner.take_full(mailbox)
    }

    fn expire(&self, older_than: u64, budget: usize) -> Pending<u64, StoreError> {
        self.inner.expire(older_than, budget)
    }

    fn acknowledge_expired(&self, mailbox: Address, count: u64) -> Pending<(), StoreError> {
        self.inner.acknowledge_expired(mailbox, count)
    }

    fn register(&self, account: NewAccount) -> Pending<(), RegisterError> {
        self.inner.register(account)
    }

    fn add_invitation(&self, invitation: NewInvitation) -> Pending<(), StoreError> {
        self.inner.add_invitation(invitation)
    }

    fn account(&self, by: AccountBy) -> Pending<Option<AccountRecord>, StoreError> {
        // The memory store answers at once.
        let (reply, pending) = Pending::channel();
        self.looked_up.lock().unwrap().push(by.clone());
        let truth = futures_now(self.inner.account(by));
        let _ = reply.send(truth.map(|record| record.map(|record| Self::tell(&self.account, record))));
        pending
    }

    fn device(&self, address: Address) -> Pending<Option<DeviceRecord>, StoreError> {
        self.inner.device(address)
    }

    fn update_account(&self, account: AccountId, change: AccountChange) -> Pending<(), UpdateAccountError> {
        self.inner.update_account(account, change)
    }

    fn delete_account(&self, account: AccountId) -> Pending<bool, StoreError> {
        self.inner.delete_account(account)
    }

    fn update_devices(
        &self,
        account: AccountId,
        expected: u64,
        list: NumberedDeviceList,
        kept: Vec<DeviceId>,
        added: Vec<NewDevice>,
    ) -> Pending<Vec<DeviceId>, UpdateDevicesError> {
        self.inner.update_devices(account, expected, list, kept, added)
    }

    fn set_access_key(&self, account: AccountId, key: Option<StoredAccessKey>) -> Pending<(), StoreError> {
        self.inner.set_access_key(account, key)
    }

    fn access_key(&self, mailbox: Address) -> Pending<Option<StoredAccessKey>, StoreError> {
        self.inner.access_key(mailbox)
    }

    fn registered_since(&self, time: u64) -> Pending<Vec<(AccountId, u64)>, StoreError> {
        self.inner.registered_since(time)
    }

    fn set_blocked(&self, account: AccountId, other: AccountId, blocked: bool) -> Pending<(), SetBlockedError> {
        self.inner.set_blocked(account, other, blocked)
    }

    fn note_seen(&self, device: Address, day: u32) -> Pending<(), StoreError> {
        self.inner.note_seen(device, day)
    }

    fn publish_prekeys(&self, device: Address, prekeys: NewPrekeys) -> Pending<(), PublishPrekeysError> {
        self.inner.publish_prekeys(device, prekeys)
    }

    fn take_bundle_sparing(&self, device: Address, reserve: u64) -> Pending<Bundle, TakeBundleError> {
        self.bundles_of.lock().unwrap().push(device);
        self.tell_of_bundle(self.inner.take_bundle_sparing(device, reserve))
    }

    fn count_prekeys(&self, device: Address) -> Pending<PrekeyCounts, StoreError> {
        self.inner.count_prekeys(device)
    }

    fn times(&self) -> Pending<Times, StoreError> {
        self.inner.times()
    }

    fn note_time(&self, known: KnownTime) -> Pending<(), StoreError> {
        self.inner.note_time(known)
    }

    fn restamp(&self, now: u64) -> Pending<u64, StoreError> {
        self.inner.restamp(now)
    }

    fn room(&self) -> Pending<(), StoreError> {
        self.inner.room()
    }

    fn reusable(&self) -> u64 {
        self.inner.reusable()
    }

    fn gauges(&self) -> Pending<Gauges, StoreError> {
        self.inner.gauges()
    }

    fn stats(&self) -> Pending<Stats, StoreError> {
        self.inner.stats()
    }

    fn checkpoint(&self) -> Pending<(), StoreError> {
        self.inner.checkpoint()
    }

    fn close(&self) -> Pending<(), StoreError> {
        // It outlives the relay.
        Pending::ready(Ok(()))
    }
}

/// The answer of something that is there at once.
fn futures_now<T, E: From<StoreError>>(mut pending: Pending<T, E>) -> Result<T, E> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match Future::poll(std::pin::Pin::new(&mut pending), &mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("the memory store answers at once"),
    }
}

/// An envelope whose ciphertext has one bit another way.
pub fn damage(mut envelope: NewEnvelope) -> NewEnvelope {
    let mut bytes = envelope.ciphertext.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    envelope.ciphertext = bytes.into();
    envelope
}

/// Says something that arrives damaged.
pub async fn say_in_vain(store: &LyingStore, from: &Client, to: &str, text: &str) {
    LyingStore::lie(&store.envelope, damage);
    super::say(from, to, text).await;
    LyingStore::stop(&store.envelope);
}
