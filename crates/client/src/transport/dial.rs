//! From a relay's address to an open stream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use kuvert_types::RelayUrl;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, IdleTimeout, TransportConfig, VarInt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::Link;
use super::tls::{self, WrongFingerprint};
use super::words::describe;
use crate::error::Error;
use crate::options::Options;
use crate::patience::millis;

/// Keeps the mapping in routers alive; a relay with many clients pays for each.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// A relay that stays silent for this long, keep-alives included, is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What may be under way from the relay: a window of large envelopes need not fit, they queue at the relay.
const RECEIVE_WINDOW: u32 = 1024 * 1024;

/// What may be under way to the relay: what a file's upload holds in memory.
const SEND_WINDOW: u64 = 1024 * 1024;

/// No server name is sent, and none is compared: the pin decides.
const SERVER_NAME: &str = "relay.invalid";

/// Connects to a relay and opens the stream.
///
/// # Errors
/// `relay-unreachable`, `relay-fingerprint`.
pub async fn dial(relay: &RelayUrl, options: &Options) -> Result<Link, Error> {
    let seconds = options.connect_timeout.as_secs_f32();
    tracing::info!(relay = relay.host_port(), "connecting");
    let begun = Instant::now();
    let dialed = match timeout(options.connect_timeout, race(relay, options)).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(relay, format!("nothing came back within {seconds} s"))),
    };
    match &dialed {
        Ok(_) => tracing::info!(
            milliseconds = millis(begun.elapsed()),
            "handshake done: the relay has the key that its address names"
        ),
        Err(error) => tracing::info!(code = error.code(), milliseconds = millis(begun.elapsed()), "no connection"),
    }
    dialed
}

fn unreachable(relay: &RelayUrl, reason: impl Into<String>) -> Error {
    Error::RelayUnreachable { address: relay.host_port(), reason: reason.into() }
}

/// Tries all addresses of the host at once: the first that answers with the right key wins.
async fn race(relay: &RelayUrl, options: &Options) -> Result<Link, Error> {
    let begun = Instant::now();
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((relay.host.as_str(), relay.port))
        .await
        .map_err(|error| unreachable(relay, format!("no address for that host: {error}")))?
        .collect();
    tracing::info!(addresses = addresses.len(), milliseconds = millis(begun.elapsed()), "resolved");
    let mut attempts = JoinSet::new();
    for address in addresses {
        attempts.spawn(attempt(relay.clone(), address, options.local_address, options.request_timeout));
    }
    let mut last = unreachable(relay, "that host has no address");
    while let Some(result) = attempts.join_next().await {
        match result {
            Ok(Ok(link)) => return Ok(link),
            // A wrong key says more than silence.
            Ok(Err(error)) if !matches!(last, Error::RelayFingerprint { .. }) => last = error,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err(last)
}

async fn attempt(
    relay: RelayUrl,
    address: SocketAddr,
    from: Option<IpAddr>,
    request_timeout: Duration,
) -> Result<Link, Error> {
    let wrong = WrongFingerprint::default();
    let failed = |reason: String| match *wrong.lock().unwrap_or_else(PoisonError::into_inner) {
        None => unreachable(&relay, reason),
        Some(seen) => Error::RelayFingerprint {
            address: relay.host_port(),
            expected: relay.fingerprint_text(),
            seen: RelayUrl { fingerprint: seen, ..relay.clone() }.fingerprint_text(),
        },
    };
    tracing::debug!(%address, "trying an address of the relay");
    let tls = tls::config(relay.fingerprint, Arc::clone(&wrong)).map_err(|error| failed(error.to_string()))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| failed(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport()));

    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = from.unwrap_or(any);
    let endpoint = Endpoint::client((from, 0).into()).map_err(|error| failed(format!("from {from}: {error}")))?;
    let begun = Instant::now();
    let mut connecting =
        endpoint.connect_with(config, address, SERVER_NAME).map_err(|error| failed(error.to_string()))?;
    connecting.handshake_data().await.map_err(|error| failed(describe(&error)))?;
    tracing::info!(%address, milliseconds = millis(begun.elapsed()), "UDP passes: an answer came");
    let connection = connecting.await.map_err(|error| failed(describe(&error)))?;
    let stream = connection.open_bi().await.map_err(|error| failed(describe(&error)))?;
    Ok(Link::start(endpoint, connection, stream, request_timeout))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok());
    transport.stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
    transport.receive_window(VarInt::from_u32(RECEIVE_WINDOW));
    transport.send_window(SEND_WINDOW);
    // The relay opens no streams.
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.datagram_receive_buffer_size(None);
    transport
}
