//! A device with a client of its own making: it has keys and a session like any other, and sends what it likes.

use kuvert_client::internal::{self, Body, finish_content};
use kuvert_client::{AccountId, Address, Client, DeviceId, EnvelopeId};
use kuvert_protocol::prekey::{KemPrekey, KemPrekeyKind, OneTimePrekey, PrekeyBundle, SignedPrekey, VerifiedBundle};
use kuvert_protocol::{AccountSecret, DeviceSecrets, LocalDevice, SessionRecord};
use kuvert_relay::store::{NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::{DeviceListState, Signature, UnverifiedDeviceCertificate};

use super::lying::LyingStore;

/// A prekey bundle for a client's device, as the relay would hand it out.
pub async fn bundle_of(store: &LyingStore, whom: &Client) -> VerifiedBundle {
    let address = whom.whoami().await.unwrap().address;
    let bundle = store.take_bundle(address).await.unwrap();
    let array = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).unwrap();
    let kem_kind = if bundle.kem_is_last_resort { KemPrekeyKind::LastResort } else { KemPrekeyKind::OneTime };
    let bundle = PrekeyBundle {
        certificate: UnverifiedDeviceCertificate::decode(&bundle.certificate).unwrap(),
        signed_prekey: SignedPrekey {
            id: bundle.signed.id,
            public_key: array(&bundle.signed.public_key),
            signature: Signature::try_from(bundle.signed.signature.as_ref()).unwrap(),
        },
        kem_prekey: KemPrekey {
            id: bundle.kem.id,
            public_key: Box::new(bundle.kem.public_key.as_ref().try_into().unwrap()),
            signature: Signature::try_from(bundle.kem.signature.as_ref()).unwrap(),
        },
        kem_kind,
        one_time_prekey: bundle.one_time.map(|key| OneTimePrekey { id: key.id, public_key: array(&key.public_key) }),
    };
    let key = bundle.certificate.claimed().account_key;
    bundle.verify(address, &key).unwrap()
}

/// See the module's head.
pub struct Stranger {
    pub account: AccountSecret,
    pub device: LocalDevice,
    session: SessionRecord,
    sent: u8,
}

impl Stranger {
    /// An account whose id is made of this byte.
    pub fn new(number: u8) -> Self {
        Self::with_id([number; 16])
    }

    /// An account with this id.
    pub fn with_id(id: [u8; 16]) -> Self {
        Self::posing_as(Address { account: AccountId::from_bytes(id), device: DeviceId::PRIMARY })
    }

    /// Keys of its own under this address.
    pub fn posing_as(address: Address) -> Self {
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        let (account, secrets) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
        let certificate = secrets.certify(&account, address);
        let device = LocalDevice::new(secrets, certificate).unwrap();
        Self { account, device, session: SessionRecord::new(), sent: 0 }
    }

    pub fn address(&self) -> Address {
        self.device.address()
    }

    /// The device's entry in a list.
    pub fn entry(&self) -> DeviceEntry {
        DeviceEntry { device: self.address().device, certificate_hash: self.device.certificate().hash() }
    }

    /// A list of the account's, signed.
    pub fn list(&self, number: u64, devices: Vec<DeviceEntry>) -> NumberedDeviceList {
        let body = DeviceListBody { account: self.address().account, number, devices };
        NumberedDeviceList { number, bytes: self.account.sign_device_list(&body).unwrap().encode().into() }
    }

    /// Has the relay know the account.
    pub async fn register(&self, store: &LyingStore) {
        let certificate = self.device.certificate();
        let account = NewAccount {
            account: self.address().account,
            account_key: self.account.public(),
            device_list: self.list(1, vec![self.entry()]),
            name: None,
            phone: None,
            registered_at: 1,
            device: NewDevice {
                device: self.address().device,
                signing_key: certificate.signing_key(),
                certificate: certificate.encode().to_vec().into(),
            },
            invitation: None,
        };
        store.register(account).await.unwrap();
    }

    /// Begins a session; the one before is left.
    pub async fn begin(&mut self, store: &LyingStore, whom: &Client) {
        self.begin_with(&bundle_of(store, whom).await);
    }

    /// The same with a bundle that was taken before.
    pub fn begin_with(&mut self, bundle: &VerifiedBundle) {
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        self.session.initiate(&self.device, bundle, 1, &mut rng).unwrap();
    }

    /// Number and hash of a list that names this device alone.
    pub fn list_state(&self, number: u64) -> DeviceListState {
        let body = DeviceListBody { account: self.address().account, number, devices: vec![self.entry()] };
        self.account.sign_device_list(&body).unwrap().state()
    }

    /// An authentic message with this text under this message id.
    pub fn text(&mut self, id: u8, text: &str) -> Vec<u8> {
        self.text_under(self.list_state(1), id, text)
    }

    /// The same from a device that names this list as its own.
    pub fn text_under(&mut self, own: DeviceListState, id: u8, text: &str) -> Vec<u8> {
        self.content(own, id, internal::text(text))
    }

    /// An authentic session reset.
    pub fn reset(&mut self, id: u8) -> Vec<u8> {
        self.content(self.list_state(1), id, internal::session_reset())
    }

    /// An authentic receipt for what was never sent to it.
    pub fn receipt(&mut self, id: u8) -> Vec<u8> {
        let made_up = EnvelopeId::from_bytes([id; 16]);
        self.content(self.list_state(1), id, internal::receipts(&[made_up], &[]))
    }

    fn content(&mut self, own: DeviceListState, id: u8, body: kuvert_wire::v1::content::Body) -> Vec<u8> {
        let draft = internal::draft(EnvelopeId::from_bytes([id; 16]), 1, body);
        let content = finish_content(&draft, own, DeviceListState { number: 0, hash: [0; 32] }, None).unwrap();
        assert!(!matches!(internal::open_content(&content).unwrap().body, Body::Unknown));
        let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
        self.session.encrypt(&content, 1, &mut rng).unwrap()
    }

    /// Puts bytes into a client's mailbox under this device's name, as the relay takes them from it.
    pub async fn send(&mut self, store: &LyingStore, to: &Client, ciphertext: Vec<u8>) {
        self.sent = self.sent.checked_add(1).unwrap();
        let id = EnvelopeId::from_bytes([self.sent; 16]);
        self.send_as(store, to, id, ciphertext).await;
    }

    /// The same under an envelope id of its choice.
    pub async fn send_as(&self, store: &LyingStore, to: &Client, id: EnvelopeId, ciphertext: Vec<u8>) {
        let envelope = NewEnvelope { id, source: Some(self.address()), ciphertext: ciphertext.into() };
        store.inject(to.whoami().await.unwrap().address, envelope).await;
    }
}
