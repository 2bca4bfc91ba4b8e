//! One client's connection: the transport settings of Kuvert's own client, frames in and out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kuvert_types::RelayUrl;
use kuvert_types::label::TLS_EXPORTER;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame, ServerFrame};
use kuvert_wire::{ALPN, VERSION, frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Outcome;
use crate::device::{Device, Proof};
use crate::job::Target;

const KEEP_ALIVE: Duration = Duration::from_secs(25);
const IDLE_TIMEOUT_MS: u32 = 60_000;
const RECEIVE_WINDOW: u32 = 1024 * 1024;

/// One socket serves many connections: without room, its packets would be lost before the process gets its turn.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Where to connect to, and with what.
#[derive(Clone, Debug)]
pub struct Dialer {
    endpoint: Endpoint,
    address: SocketAddr,
    bare: bool,
}

impl Dialer {
    /// Connects from `127.0.0.1`.
    ///
    /// # Errors
    /// The address is none, or the system has no socket.
    pub fn new(target: &Target) -> Outcome<Self> {
        Self::from(target, Ipv4Addr::LOCALHOST)
    }

    /// Connects from another loopback address.
    ///
    /// # Errors
    /// As [`Dialer::new`].
    pub fn from(target: &Target, source: Ipv4Addr) -> Outcome<Self> {
        let url: RelayUrl = target.url.parse()?;
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // The system may give less.
        let _ = (socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
        socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = Endpoint::new(quinn::EndpointConfig::default(), None, socket.into(), runtime)?;
        endpoint.set_default_client_config(client_config(&url)?);
        Ok(Self { endpoint, address: url.host_port().parse()?, bare: target.bare })
    }

    /// The endpoint.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A TLS connection on which nothing was said.
    ///
    /// # Errors
    /// The server does not want it.
    pub async fn connect(&self) -> Outcome<quinn::Connection> {
        Ok(self.endpoint.connect(self.address, "relay.invalid")?.await?)
    }

    /// Makes a connection this device's, registered with it if `register`.
    ///
    /// # Errors
    /// The server does not want it.
    pub async fn link(&self, connection: quinn::Connection, device: &Device, register: bool) -> Outcome<Link> {
        let (send, receive) = connection.open_bi().await?;
        let mut link = Link { connection, writer: Writer { send, next: 1 }, reader: Reader::new(receive) };
        if self.bare {
            return Ok(link);
        }
        let Response::Challenge(challenge) = link.ask(Request::Hello(v1::Hello { version: VERSION })).await? else {
            return Err("no challenge".into());
        };
        let mut proof = Proof { challenge: challenge.challenge.as_ref().try_into()?, exporter: [0; 32] };
        let exporter =
            link.connection.export_keying_material(&mut proof.exporter, TLS_EXPORTER.as_bytes(), &proof.challenge);
        exporter.map_err(|error| format!("{error:?}"))?;
        let request = if register {
            Request::Register(device.register(&proof)?)
        } else {
            Request::Authenticate(device.authenticate(&proof))
        };
        match link.ask(request).await? {
            Response::Authenticated(_) => Ok(link),
            other => Err(format!("not authenticated: {other:?}").into()),
        }
    }
}

/// A connection whose device has authenticated.
#[derive(Debug)]
pub struct Link {
    /// Keeps it open.
    pub connection: quinn::Connection,
    /// Requests.
    pub writer: Writer,
    /// Answers and deliveries.
    pub reader: Reader,
}

impl Link {
    /// Sends a request and waits for its answer; there are no deliveries yet.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn ask(&mut self, body: Request) -> Outcome<Response> {
        let request = self.writer.send([body]).await?;
        loop {
            for frame in self.reader.frames().await? {
                if frame.request == request {
                    return frame.body.ok_or_else(|| "an empty answer".into());
                }
            }
        }
    }
}

/// The sending half.
#[derive(Debug)]
pub struct Writer {
    send: quinn::SendStream,
    next: u64,
}

impl Writer {
    /// Sends requests in one write; says the last one's number.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn send(&mut self, bodies: impl IntoIterator<Item = Request>) -> Outcome<u64> {
        let mut bytes = BytesMut::new();
        for body in bodies {
            frame::encode(&ClientFrame { request: self.next, body: Some(body) }, &mut bytes)?;
            self.next += 1;
        }
        self.send.write_all(&bytes).await?;
        Ok(self.next - 1)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn raw(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.send.write_all(bytes).await?)
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    receive: quinn::RecvStream,
    buffer: BytesMut,
}

impl Reader {
    fn new(receive: quinn::RecvStream) -> Self {
        Self { receive, buffer: BytesMut::new() }
    }

    /// All frames that are there; at least one.
    ///
    /// # Errors
    /// The connection ended, or the server said something else than frames.
    pub async fn frames(&mut self) -> Outcome<Vec<ServerFrame>> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            let chunk = self.receive.read_chunk(usize::MAX, true).await?.ok_or("the server ended the connection")?;
            self.buffer.extend_from_slice(&chunk.bytes);
            while let Some(frame) = frame::decode::<ServerFrame>(&mut self.buffer)? {
                frames.push(frame);
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(frames)
    }
}

/// A submit request.
pub fn submit(id: [u8; 16], from: &v1::Address, to: v1::Address, ciphertext: Bytes) -> Request {
    let id = Bytes::copy_from_slice(&id);
    let envelope = v1::Envelope { id, recipient: Some(to), source: Some(from.clone()), ciphertext };
    Request::Submit(v1::Submit { envelope: Some(envelope), access_key: None })
}

fn client_config(url: &RelayUrl) -> Outcome<quinn::ClientConfig> {
    // Nothing else is offered: a handshake that succeeds was a post-quantum one.
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    });
    let pin = Pin { fingerprint: url.fingerprint, provider: Arc::clone(&provider) };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Trusts one key.
#[derive(Debug)]
struct Pin {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
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
