//! The QUIC endpoint: what connections may cost, and who gets one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Endpoint, Incoming, ServerConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connection::close::Close;
use crate::connection::serve;
use crate::endpoint_key::{EndpointKey, FILE};
use crate::limits::{
    ConnectionCount, HANDSHAKE_DEADLINE, MAX_HANDSHAKES, NoPlace, RECEIVE_WINDOW, RETRY_ABOVE_HANDSHAKES, SEND_WINDOW,
    TRANSFER_WINDOW,
};
use crate::metrics::Turned;
use crate::shared::Shared;

/// A client that is silent for this long is gone. Clients send a keep-alive about every 25 s: each costs the relay some
/// 160 µs, and home routers forget a silent UDP flow after 30 s and more.
const IDLE_TIMEOUT_MS: u32 = 60_000;

/// Bytes that a client may send ahead of being read on one stream. All of a connection together are bounded besides, by
/// [`RECEIVE_WINDOW`] while it has no transfer.
const STREAM_RECEIVE_WINDOW: u32 = TRANSFER_WINDOW;

/// Until it is known what a connection is for: one for mail, and one for a blob, or that is told that it is not for that.
const STREAMS: u32 = 2;

/// Bytes kept of a handshake that has not been looked at yet.
const INCOMING_BUFFER_BYTES: u64 = 16 * 1024;

/// The socket's buffers: some 10 ms of a full gigabit, while this process is busy elsewhere.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What is wrong with the address to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has the port.
    #[error(
        "{0} is in use by another program: stop that one, or choose another port with --listen (port 0 picks a free one)"
    )]
    InUse(SocketAddr),
    /// Not for this user.
    #[error("listening on {0} is not permitted: choose a port from 1024 on, or give the program the right to use it")]
    Denied(SocketAddr),
    /// Not an address of this machine.
    #[error("{0} is not an address of this machine: listen on 0.0.0.0 or [::], or on one that it has")]
    NotHere(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {error}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The endpoint's key cannot be kept.
    #[error("cannot write {FILE} in the data directory: {0}; check the directory and the space on its disk")]
    Key(io::Error),
    /// The TLS settings do not suit QUIC.
    #[error("the TLS settings do not suit QUIC: {0}")]
    Tls(#[from] NoInitialCipherSuite),
}

/// Listens.
///
/// # Errors
/// See [`ListenError`].
pub fn listen(address: SocketAddr, tls: rustls::ServerConfig, key: &EndpointKey) -> Result<Endpoint, ListenError> {
    let server = server(tls)?;
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::PermissionDenied => ListenError::Denied(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
        _ => ListenError::Io { address, error },
    };
    let socket = bind(address).map_err(refuse)?;
    Endpoint::new(key.config(), Some(server), socket, Arc::new(quinn::TokioRuntime)).map_err(refuse)
}

fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // [::] serves IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    // The system may give less; that only costs packets under load.
    let _ = (socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What the relay does with new connections: this certificate, these bounds.
///
/// # Errors
/// The TLS settings do not suit QUIC.
pub fn server(tls: rustls::ServerConfig) -> Result<ServerConfig, NoInitialCipherSuite> {
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(STREAM_RECEIVE_WINDOW.into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(MAX_HANDSHAKES)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * MAX_HANDSHAKES as u64);
    Ok(config)
}

/// Accepts connections until the relay stops, then waits for those that are open.
pub async fn accept(endpoint: Endpoint, service: Arc<Shared>, count: Arc<ConnectionCount>, drain: Duration) {
    let mut connections = JoinSet::new();
    let stopped = service.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            // Finished tasks are let go as they come.
            Some(_) = connections.join_next() => {}
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if let Some(incoming) = admit(incoming, &count, connections.len(), &service) {
                    connections.spawn(handshake(incoming, Arc::clone(&service), Arc::clone(&count)));
                }
            }
        }
    }
    endpoint.set_server_config(None);
    let drained = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::info!(connections = connections.len(), "closing connections that did not finish in time");
    }
    Close::GOING_AWAY.close_all(&endpoint);
    connections.shutdown().await;
    // So that the last packets leave; a peer that is gone must not keep the relay from stopping.
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
}

/// Turns peers away before they cost a handshake: those without a place, and under load those that have not shown that
/// they receive at the address that they send from (QUIC Retry), or whose address has had its share of handshakes.
fn admit(incoming: Incoming, count: &ConnectionCount, tasks: usize, service: &Shared) -> Option<Incoming> {
    let metrics = &service.metrics;
    let open = count.open();
    let handshakes = tasks.saturating_sub(open);
    if open >= count.max() || handshakes >= MAX_HANDSHAKES {
        metrics.turned_away(Turned::Full);
        incoming.refuse();
        return None;
    }
    let busy = handshakes >= RETRY_ABOVE_HANDSHAKES;
    if !incoming.remote_address_validated() && (busy || open * 4 > count.max() * 3) {
        metrics.turned_away(Turned::Retry);
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return None;
    }
    if busy && service.limiter.handshake(incoming.remote_address().ip()).is_err() {
        metrics.turned_away(Turned::AddressFull);
        incoming.refuse();
        return None;
    }
    Some(incoming)
}

async fn handshake(incoming: Incoming, service: Arc<Shared>, count: Arc<ConnectionCount>) {
    let Ok(Ok(connection)) = timeout(HANDSHAKE_DEADLINE, incoming).await else {
        service.metrics.turned_away(Turned::Handshake);
        tracing::debug!("a handshake failed");
        return;
    };
    match count.enter(connection.remote_address().ip()) {
        Ok(_place) => serve(service, connection).await,
        Err(reason) => {
            service.metrics.turned_away(match reason {
                NoPlace::Full => Turned::Full,
                NoPlace::AddressFull => Turned::AddressFull,
            });
            tracing::debug!(?reason, "no place for a connection");
            Close::FULL.close(&connection);
        }
    }
}
