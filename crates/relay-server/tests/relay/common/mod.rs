//! A small client for tests: raw frames over real QUIC, keys made here. It does what it is told, also what no honest
//! client does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

pub mod blob;
pub mod kx;
pub mod network;
pub mod process;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ed25519_dalek::{Signer, SigningKey};
use kuvert_relay::{Clock, Config, ManualClock, RunningRelay, SystemClock};
use kuvert_types::authentication::statement;
use kuvert_types::certificate::CertificateBody;
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::label::TLS_EXPORTER;
use kuvert_types::{
    AccessKey, AccountId, AccountKey, Address, DeviceCertificate, DeviceId, DeviceList, DeviceSigningKey, EnvelopeId,
    IdentityKey, RelayUrl, Signature,
};
use kuvert_wire::checked::to_wire;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::demonstration::answer::Body as Told;
use kuvert_wire::v1::demonstration::request::Body as Tell;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame, ServerFrame, demonstration};
use kuvert_wire::{ALPN, VERSION, frame};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};

/// Longer than anything takes here: only a broken relay gets that far.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Some moment; tests with a clock of their own start here.
pub const NOON: u64 = 1_800_000_000_000;

/// Of accounts that welcome contacts.
pub const CONTACTS_KEY: AccessKey = AccessKey::from_bytes([0xC0; 16]);

pub const DAY: Duration = Duration::from_secs(86_400);

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub fn config(data: &Path) -> Config {
    let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::new(data) };
    // Whatever else is on the disk of the machine that runs the tests.
    config.limits.blob_disk_percent = 100;
    config
}

pub async fn start(data: &Path) -> RunningRelay {
    start_with(config(data), Arc::new(SystemClock::new())).await
}

/// As the program of the crate whose tests these are serves.
pub async fn start_with(config: Config, clock: Arc<dyn Clock>) -> RunningRelay {
    crate::launch(config, clock).await.unwrap()
}

/// What the extension `demonstration` is asked.
pub trait IntoTell {
    fn tell(self) -> Tell;
}

macro_rules! into_tell {
    ($($name:ident)*) => {
        $(impl IntoTell for demonstration::$name {
            fn tell(self) -> Tell {
                Tell::$name(self)
            }
        })*
    };
}

into_tell!(RequestPhoneCode VerifyPhone SetProfile GetProfile UploadAddressBook ReportDevice WithdrawDisclosure);
into_tell!(GetPolicies AcceptPolicy ObjectAdvertising);

/// As a request to the extension `demonstration`.
pub fn tell(request: impl IntoTell) -> Request {
    let body = demonstration::Request { body: Some(request.tell()) }.encode_to_vec();
    extension(demonstration::NAME, body)
}

pub fn extension(name: &str, body: Vec<u8>) -> Request {
    Request::Extension(v1::Extension { name: name.into(), body: body.into() })
}

/// The extension's answer.
pub fn told(answer: Response) -> Told {
    let Response::Extension(v1::Extension { name, body }) = answer else { panic!("{answer:?}") };
    assert_eq!(name, demonstration::NAME);
    demonstration::Answer::decode(body).unwrap().body.unwrap()
}

pub async fn start_at_noon(data: &Path) -> (RunningRelay, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOON));
    (start_with(config(data), clock.clone()).await, clock)
}

/// The keys of an account with one device.
#[derive(Clone)]
pub struct Device {
    pub account_key: SigningKey,
    pub signing_key: SigningKey,
    pub address: Address,
    pub name: Option<String>,
    pub phone: Option<String>,
}

impl Device {
    pub fn new() -> Self {
        Self {
            account_key: SigningKey::from_bytes(&random()),
            signing_key: SigningKey::from_bytes(&random()),
            address: Address { account: AccountId::from_bytes(random()), device: DeviceId::PRIMARY },
            name: None,
            phone: None,
        }
    }

    pub fn named(name: &str) -> Self {
        Self { name: Some(name.into()), ..Self::new() }
    }

    pub fn account_public(&self) -> AccountKey {
        AccountKey::from_bytes(self.account_key.verifying_key().to_bytes())
    }

    pub fn certificate(&self) -> DeviceCertificate {
        let body = CertificateBody {
            address: self.address,
            account_key: self.account_public(),
            signing_key: DeviceSigningKey::from_bytes(self.signing_key.verifying_key().to_bytes()),
            identity_key: IdentityKey::from_bytes([9; 32]),
        };
        let by_account = sign(&self.account_key, &body.account_statement());
        let by_device = sign(&self.signing_key, &body.device_statement());
        DeviceCertificate::assemble(body, by_account, by_device).unwrap()
    }

    pub fn list(&self, number: u64) -> DeviceList {
        let certificate = self.certificate();
        let entry = DeviceEntry { device: self.address.device, certificate_hash: certificate.hash() };
        let body = DeviceListBody { account: self.address.account, number, devices: vec![entry] };
        let signature = sign(&self.account_key, &body.statement());
        DeviceList::assemble(body, signature, &self.account_public()).unwrap()
    }

    pub fn register_request(&self, proof: &Proof) -> v1::Register {
        v1::Register {
            certificate: self.certificate().encode().to_vec().into(),
            device_list: self.list(1).encode().into(),
            name: self.name.clone(),
            phone: self.phone.clone(),
            signature: proof.sign(&self.signing_key, &self.address),
            invitation: None,
        }
    }

    pub fn authenticate_request(&self, proof: &Proof) -> v1::Authenticate {
        v1::Authenticate {
            address: Some(to_wire(&self.address)),
            signature: proof.sign(&self.signing_key, &self.address),
        }
    }
}

pub fn sign(key: &SigningKey, message: &[u8]) -> Signature {
    Signature::from_bytes(key.sign(message).to_bytes())
}

/// A challenge and the connection's exporter.
#[derive(Clone)]
pub struct Proof {
    pub challenge: [u8; 32],
    pub exporter: [u8; 32],
}

impl Proof {
    pub fn sign(&self, key: &SigningKey, address: &Address) -> Bytes {
        Bytes::copy_from_slice(sign(key, &statement(address, &self.challenge, &self.exporter)).as_bytes())
    }
}

/// A connection with its one stream.
pub struct Client {
    pub connection: quinn::Connection,
    pub send: quinn::SendStream,
    pub receive: quinn::RecvStream,
    buffer: BytesMut,
    /// What came unasked while an answer was awaited.
    pub unasked: VecDeque<Response>,
    next_request: u64,
    /// The device that registered or authenticated on it.
    device: Option<Address>,
    pub _endpoint: quinn::Endpoint,
}

impl Client {
    /// A connection that has said nothing yet.
    pub async fn connect(url: &RelayUrl) -> Self {
        Self::connect_with(url, client_config(url, kuvert_relay::tls::provider(), &[ALPN])).await.unwrap()
    }

    pub async fn connect_with(url: &RelayUrl, config: quinn::ClientConfig) -> Result<Self, quinn::ConnectionError> {
        let endpoint = quinn::Endpoint::client("0.0.0.0:0".parse().unwrap()).unwrap();
        let address = url.host_port().parse().unwrap();
        let connecting = endpoint.connect_with(config, address, "kuvert-relay").unwrap();
        let connection = within(connecting).await?;
        let (send, receive) = within(connection.open_bi()).await?;
        Ok(Self {
            connection,
            send,
            receive,
            buffer: BytesMut::new(),
            unasked: VecDeque::new(),
            next_request: 1,
            device: None,
            _endpoint: endpoint,
        })
    }

    /// A connection on which a new device registered.
    pub async fn register(url: &RelayUrl, device: &Device) -> Self {
        let mut client = Self::connect(url).await;
        let proof = client.hello().await;
        let answer = client.ask(Request::Register(device.register_request(&proof))).await;
        assert!(matches!(answer, Response::Authenticated(_)), "{answer:?}");
        client.device = Some(device.address);
        client
    }

    /// A connection on which a registered device authenticated.
    pub async fn authenticate(url: &RelayUrl, device: &Device) -> (Self, v1::Authenticated) {
        let mut client = Self::connect(url).await;
        let proof = client.hello().await;
        match client.ask(Request::Authenticate(device.authenticate_request(&proof))).await {
            Response::Authenticated(answer) => {
                client.device = Some(device.address);
                (client, answer)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Says hello and takes the challenge.
    pub async fn hello(&mut self) -> Proof {
        match self.ask(Request::Hello(v1::Hello { version: VERSION })).await {
            Response::Challenge(challenge) => {
                let challenge: [u8; 32] = challenge.challenge.as_ref().try_into().unwrap();
                let mut exporter = [0; 32];
                self.connection.export_keying_material(&mut exporter, TLS_EXPORTER.as_bytes(), &challenge).unwrap();
                Proof { challenge, exporter }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request and does not wait. Returns its number.
    pub async fn send(&mut self, body: Request) -> u64 {
        let request = self.next_request;
        assert!(self.try_send(body).await);
        request
    }

    /// The same, where the connection may have ended. Whether it was sent.
    pub async fn try_send(&mut self, body: Request) -> bool {
        let request = self.next_request;
        self.next_request += 1;
        let mut bytes = BytesMut::new();
        frame::encode(&ClientFrame { request, body: Some(body) }, &mut bytes).unwrap();
        within(self.send.write_all(&bytes)).await.is_ok()
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, body: Request) -> Response {
        let request = self.send(body).await;
        self.answer(request).await
    }

    /// Sends a request that is refused.
    pub async fn refused(&mut self, body: Request) -> Code {
        match self.ask(body).await {
            Response::Error(error) => {
                assert!(!error.message.is_empty());
                error.code()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The answer to a request. What comes unasked meanwhile is kept.
    pub async fn answer(&mut self, request: u64) -> Response {
        loop {
            let frame = self.frame().await.expect("the connection ended");
            let body = frame.body.unwrap();
            if frame.request == request {
                return body;
            }
            assert_eq!(frame.request, 0, "an answer out of order: {body:?}");
            self.unasked.push_back(body);
        }
    }

    /// The next thing that the relay says unasked.
    pub async fn unasked(&mut self) -> Response {
        match self.unasked.pop_front() {
            Some(body) => body,
            None => {
                let frame = self.frame().await.expect("the connection ended");
                assert_eq!(frame.request, 0, "{frame:?}");
                frame.body.unwrap()
            }
        }
    }

    pub async fn delivery(&mut self) -> v1::Delivery {
        match self.unasked().await {
            Response::Delivery(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    pub async fn caught_up(&mut self) {
        let next = self.unasked().await;
        assert!(matches!(next, Response::CaughtUp(_)), "{next:?}");
    }

    /// The next frame, `None` at the end.
    pub async fn frame(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = frame::decode::<ServerFrame>(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            match within(self.receive.read_chunk(usize::MAX, true)).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The error frame that the relay sends before it closes, and the reason that it closes with.
    pub async fn closed(mut self) -> (Option<v1::Error>, String) {
        let mut error = None;
        while let Some(frame) = self.frame().await {
            if let Some(Response::Error(last)) = frame.body {
                error = Some(last);
            }
        }
        // The relay waits for its last bytes to be taken: they were, so it closes.
        match within(self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (error, String::from_utf8(close.reason.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn attach(&mut self) {
        let answer = self.ask(Request::Attach(v1::Attach {})).await;
        assert!(matches!(answer, Response::Attached(_)), "{answer:?}");
    }

    /// Submits under the client's own name, unless the envelope bears another one.
    pub async fn submit(&mut self, envelope: v1::Envelope) -> v1::Accepted {
        let named = self.named(envelope);
        match self.ask(submit(named)).await {
            Response::Accepted(accepted) => accepted,
            other => panic!("{other:?}"),
        }
    }

    /// A sender that shows [`CONTACTS_KEY`] is a contact from now on.
    pub async fn welcome_contacts(&mut self) {
        self.welcome(false).await;
    }

    /// And its sealed mail, too, if `sealed`.
    pub async fn welcome(&mut self, sealed: bool) {
        let hash = Some(CONTACTS_KEY.hash().to_vec().into());
        let answer = self.ask(Request::SetAccessKey(v1::SetAccessKey { hash, sealed })).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    }

    /// The envelope with the client's device as its source, unless it has one.
    pub fn named(&self, envelope: v1::Envelope) -> v1::Envelope {
        let source = envelope.source.clone().or(self.device.as_ref().map(to_wire));
        v1::Envelope { source, ..envelope }
    }

    pub async fn acknowledge(&mut self, up_to: u64) {
        let answer = self.ask(acknowledge(up_to)).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    }
}

pub fn submit(envelope: v1::Envelope) -> Request {
    Request::Submit(v1::Submit { envelope: Some(envelope), access_key: None })
}

/// With the key of [`Client::welcome_contacts`].
pub fn submit_as_contact(envelope: v1::Envelope) -> Request {
    let access_key = Some(Bytes::from_static(CONTACTS_KEY.as_bytes()));
    Request::Submit(v1::Submit { envelope: Some(envelope), access_key })
}

/// Submits without a name, on a connection of its own, with [`CONTACTS_KEY`].
pub async fn submit_sealed(url: &RelayUrl, envelope: v1::Envelope) -> Response {
    let mut nobody = Client::connect(url).await;
    nobody.hello().await;
    let access_key = Bytes::from_static(CONTACTS_KEY.as_bytes());
    nobody.ask(Request::SubmitSealed(v1::SubmitSealed { envelope: Some(envelope), access_key })).await
}

pub fn set_blocked(other: &Device, blocked: bool) -> Request {
    let account = Bytes::copy_from_slice(other.address.account.as_bytes());
    Request::SetBlocked(v1::SetBlocked { account, blocked })
}

pub fn acknowledge(up_to: u64) -> Request {
    Request::Acknowledge(v1::Acknowledge { up_to })
}

pub fn envelope(to: &Device, ciphertext: impl Into<Bytes>) -> v1::Envelope {
    let id = EnvelopeId::from_bytes(random());
    v1::Envelope {
        id: Bytes::copy_from_slice(id.as_bytes()),
        recipient: Some(to_wire(&to.address)),
        source: None,
        ciphertext: ciphertext.into(),
    }
}

pub fn envelope_from(from: &Device, to: &Device, ciphertext: impl Into<Bytes>) -> v1::Envelope {
    v1::Envelope { source: Some(to_wire(&from.address)), ..envelope(to, ciphertext) }
}

/// Prekeys with the right lengths. The relay cannot tell more.
pub fn prekeys(first: u32, count: u32, with_long_lived: bool) -> v1::PublishPrekeys {
    let key = |len: usize, id: u32| {
        let mut key = vec![0x50; len];
        key[..4].copy_from_slice(&id.to_be_bytes());
        Bytes::from(key)
    };
    let kem = |id: u32| v1::KemPrekey { id, public_key: key(1568, id), signature: key(64, id) };
    v1::PublishPrekeys {
        signed_prekey: with_long_lived.then(|| v1::SignedPrekey {
            id: 1,
            public_key: key(32, 1),
            signature: key(64, 1),
        }),
        last_resort_kem_prekey: with_long_lived.then(|| kem(1)),
        one_time_prekeys: (first..first + count).map(|id| v1::OneTimePrekey { id, public_key: key(32, id) }).collect(),
        one_time_kem_prekeys: (first..first + count).map(kem).collect(),
    }
}

pub fn take_bundles(of: &Device) -> Request {
    let account = Bytes::copy_from_slice(of.address.account.as_bytes());
    Request::TakeBundles(v1::TakeBundles { account, devices: vec![] })
}

pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future.into_future()).await.expect("it took too long")
}

pub fn client_config(url: &RelayUrl, provider: rustls::crypto::CryptoProvider, alpn: &[&[u8]]) -> quinn::ClientConfig {
    let provider = Arc::new(provider);
    let pin = Pin { fingerprint: url.fingerprint, provider: Arc::clone(&provider) };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(20)));
    config.transport_config(Arc::new(transport));
    config
}

/// Trusts one key.
#[derive(Debug)]
struct Pin {
    fingerprint: [u8; 32],
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        if Sha256::digest(&spki)[..] == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another key than the address says".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
