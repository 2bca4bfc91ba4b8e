//! A relay from start to stop. The program does this; tests and other programs can, too.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kuvert_types::RelayUrl;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::blobs::Blobs;
use crate::blobs::store::BlobStore;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::data_rights::DataRights;
use crate::endpoint::{self, ListenError};
use crate::endpoint_key::EndpointKey;
use crate::extension::Extension;
use crate::figures::Figures;
use crate::incidents::Incidents;
use crate::limits::held::{Bounds, Budget};
use crate::limits::saved::Saved;
use crate::limits::{ConnectionCount, Limiter};
use crate::metrics::Metrics;
use crate::monitoring::{self, Monitor};
use crate::observe::{Blind, Observer};
use crate::others::Others;
use crate::presence::{LocalPresence, Presence};
use crate::relay_time::{ClockBehind, RelayClock};
use crate::retention;
use crate::shared::Shared;
use crate::slots::{MemorySlots, Slots};
use crate::store::{Store, StoreError};
use crate::tls::{Identity, TlsError};
use crate::young::{self, Disk, FileSystem, LowWater, WithStore, Young};

/// How long a stopping relay waits for its last tasks.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// Why a relay cannot start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration breaks a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No monitoring.
    #[error("cannot listen on {address} for monitoring: {error}. Choose another monitoring.listen, or remove it.")]
    Monitoring {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The clock is not set.
    #[error(transparent)]
    Clock(#[from] ClockBehind),
    /// The host for clients is none.
    #[error("`{0}` cannot stand in a relay's address: give a host name or an IP address with --public-host")]
    PublicHost(String),
}

/// What a relay is made of.
#[derive(Clone)]
pub struct Parts {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    rights: Arc<dyn DataRights>,
    presence: Arc<dyn Presence>,
    slots: Arc<dyn Slots>,
    observer: Arc<dyn Observer>,
    extension: Option<Arc<dyn Extension>>,
    disk: Option<Arc<dyn Disk>>,
    figures: Option<Arc<dyn Figures>>,
    others: Option<Arc<dyn Others>>,
    blobs: Option<Arc<dyn BlobStore>>,
    blob_disk: Option<Arc<dyn Disk>>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("extension", &self.extension).finish_non_exhaustive()
    }
}

impl Parts {
    /// Presence and slots within this process, no observer, no extension, and the system's word on the disk.
    pub fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>, rights: Arc<dyn DataRights>) -> Self {
        let (presence, observer) = (Arc::new(LocalPresence::default()), Arc::new(Blind));
        Self {
            clock,
            store,
            rights,
            presence,
            slots: Arc::new(MemorySlots::default()),
            observer,
            extension: None,
            disk: None,
            figures: None,
            others: None,
            blobs: None,
            blob_disk: None,
        }
    }

    /// Presence beyond this process.
    #[must_use]
    pub fn with_presence(self, presence: Arc<dyn Presence>) -> Self {
        Self { presence, ..self }
    }

    /// Slots beyond this process.
    #[must_use]
    pub fn with_slots(self, slots: Arc<dyn Slots>) -> Self {
        Self { slots, ..self }
    }

    /// Something that sees what the relay learns.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Something beyond mail.
    #[must_use]
    pub fn with_extension(self, extension: Arc<dyn Extension>) -> Self {
        Self { extension: Some(extension), ..self }
    }

    /// Another way to measure the room on the disk than asking the system.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk: Some(disk), ..self }
    }

    /// Something that counts, for monitoring.
    #[must_use]
    pub fn with_figures(self, figures: Arc<dyn Figures>) -> Self {
        Self { figures: Some(figures), ..self }
    }

    /// Other relays that serve the same store, with which limits are shared.
    #[must_use]
    pub fn with_others(self, others: Arc<dyn Others>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// Something that keeps files. Without, the relay takes none.
    #[must_use]
    pub fn with_blobs(self, blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs: Some(blobs), ..self }
    }

    /// Where their bytes are, if that is not on the relay's own disk.
    #[must_use]
    pub fn with_blob_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { blob_disk: Some(disk), ..self }
    }

    /// Starts a relay of these parts. It serves when this returns.
    ///
    /// # Errors
    /// See [`StartError`]. The store is not closed.
    pub async fn start(self, config: Config) -> Result<RunningRelay, StartError> {
        config.check()?;
        serve(config, self).await
    }
}

async fn serve(config: Config, parts: Parts) -> Result<RunningRelay, StartError> {
    let Parts { clock, store, rights, presence, slots, observer, extension, disk, figures, others, blobs, blob_disk } =
        parts;
    let disk = disk.unwrap_or_else(|| Arc::new(FileSystem::of(&config.data)));
    let blob_disk = blob_disk.unwrap_or_else(|| Arc::clone(&disk));
    let times = store.times().await?;
    let clock = Arc::new(RelayClock::start(clock, &times, config.trust_clock)?);
    let identity = Identity::of(&config)?;
    let (stop, stopping) = watch::channel(false);
    let (alive, ended) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new());
    let service = Arc::new(Shared {
        store: Arc::clone(&store),
        rights,
        extension,
        presence,
        slots,
        observer: Arc::clone(&observer),
        metrics,
        limiter: Limiter::among(&config.limits, Arc::<RelayClock>::clone(&clock), others.as_ref()),
        held: Budget::new(Bounds::default()),
        blobs: blobs
            .filter(|_| config.limits.max_file_mib > 0)
            .map(|blobs| Arc::new(Blobs::new(blobs, blob_disk, &config.limits))),
        saved_limits: Saved::below(&config.data),
        young: Young::among(u64::from(config.limits.young_account_mib) << 20, others.clone()),
        others,
        low_water: Arc::new(LowWater::new(
            Arc::new(WithStore { disk, store: Arc::clone(&store) }),
            Arc::<RelayClock>::clone(&clock),
            u64::from(config.limits.low_water_mib) << 20,
        )),
        incidents: Incidents::default(),
        report_delay_ms: u64::from(config.report_delay_hours) * 3_600_000,
        clock,
        registration: config.registration,
        stopping,
        alive,
    });
    retention::note_time(&service).await;
    // Before anything can be fetched: what is too old is never delivered.
    retention::restamp(&service).await?;
    retention::expire(&service, config.retention_days).await?;
    retention::prune(&service).await?;
    retention::collect_blobs(&service).await?;
    retention::expire_blobs(&service, config.retention_days).await?;
    retention::look_for_young(&service, young::YOUNG).await?;
    service.saved_limits.read(&service.limiter, &service.young, service.clock.now_ms());
    if let Some(others) = &service.others {
        let listener: Weak<Shared> = Arc::downgrade(&service);
        others.listen(listener);
    }
    if let Some(warning) = service.extension.as_deref().and_then(Extension::warning) {
        tracing::warn!("{warning}");
    }

    let key = EndpointKey::load_or_make(&config.data).map_err(ListenError::Key)?;
    let endpoint = endpoint::listen(config.listen, identity.server_config()?, &key)?;
    let local = endpoint.local_addr().map_err(|error| ListenError::Io { address: config.listen, error })?;
    let address = address(&config, local, identity.fingerprint())?;
    let count = ConnectionCount::new(&config.limits);
    let monitoring = Monitoring::start(&config, &service, &count, figures).await?;
    let drain = Duration::from_secs(config.drain_seconds.into());
    let accepting = tokio::spawn(endpoint::accept(endpoint.clone(), Arc::clone(&service), Arc::clone(&count), drain));
    let expiring = tokio::spawn(retention::run(Arc::clone(&service), config.retention_days));
    let totals = store.stats().await?;
    if store.was_unclean() {
        tracing::warn!(
            "the last stop was not clean: the relay was killed, or the machine failed. What was accepted is there"
        );
    }
    let monitored = monitoring.as_ref().map(|monitoring| monitoring.address.to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %local,
        monitoring = monitored.as_deref().unwrap_or("none"),
        accounts = totals.accounts,
        waiting = totals.waiting,
        retention_days = config.retention_days,
        observe = config.observe,
        "serving"
    );
    let tasks = [accepting, expiring];
    Ok(RunningRelay {
        address,
        local,
        config,
        endpoint,
        monitoring,
        service,
        store,
        observer,
        count,
        stop,
        ended,
        tasks,
    })
}

/// The task that answers monitoring.
struct Monitoring {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Monitoring {
    async fn start(
        config: &Config,
        service: &Shared,
        count: &Arc<ConnectionCount>,
        figures: Option<Arc<dyn Figures>>,
    ) -> Result<Option<Self>, StartError> {
        let Some(address) = config.monitoring.listen else { return Ok(None) };
        let refuse = |error| StartError::Monitoring { address, error };
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let monitor = Monitor {
            metrics: Arc::clone(&service.metrics),
            store: Arc::clone(&service.store),
            count: Arc::clone(count),
            stopping: service.stopping.clone(),
            data: config.data.clone(),
            clock: Arc::clone(&service.clock),
            low_water: Arc::clone(&service.low_water),
            blobs: service.blobs.clone(),
            ready_free_bytes: u64::from(config.monitoring.ready_free_mib) << 20,
            figures,
        };
        Ok(Some(Self { address, task: tokio::spawn(monitoring::serve(listener, Arc::new(monitor))) }))
    }

    /// The store is released when this returns.
    async fn stop(self) {
        self.task.abort();
        // The error is the abortion.
        let _ = self.task.await;
    }
}

/// Where clients find the relay.
fn address(config: &Config, local: SocketAddr, fingerprint: [u8; 32]) -> Result<RelayUrl, StartError> {
    let host = match &config.public_host {
        Some(host) => host.trim_matches(['[', ']']).to_owned(),
        None => usable(local.ip()).to_string(),
    };
    let address = RelayUrl { host, port: local.port(), fingerprint };
    // What clients cannot read back is no address.
    match address.to_string().parse::<RelayUrl>() {
        Ok(read) if read == address => Ok(address),
        _ => Err(StartError::PublicHost(address.host)),
    }
}

/// An address that others can connect to, where the relay listens on all of them.
fn usable(listening: IpAddr) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    // Asks the routing table which address this machine would use to reach others. Connecting a UDP socket sends nothing;
    // the destinations are for documentation (RFC 5737, RFC 3849).
    let candidates = [
        (IpAddr::from(Ipv4Addr::UNSPECIFIED), "192.0.2.1:9"),
        (IpAddr::from(Ipv6Addr::UNSPECIFIED), "[2001:db8::1]:9"),
    ];
    let towards = |(from, to): (IpAddr, &str)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    let reachable = |candidate: &(IpAddr, &str)| listening.is_ipv6() || candidate.0.is_ipv4();
    let found = candidates.into_iter().filter(reachable).find_map(towards);
    found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A relay that serves. Dropping it without [`shutdown`](Self::shutdown) stops it too, without waiting.
pub struct RunningRelay {
    address: RelayUrl,
    local: SocketAddr,
    config: Config,
    endpoint: quinn::Endpoint,
    monitoring: Option<Monitoring>,
    service: Arc<Shared>,
    store: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    count: Arc<ConnectionCount>,
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
    tasks: [JoinHandle<()>; 2],
}

impl fmt::Debug for RunningRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningRelay").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RunningRelay {
    /// What clients are given.
    pub const fn address(&self) -> &RelayUrl {
        &self.address
    }

    /// Where it listens.
    pub const fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Where metrics and health are, if anywhere.
    pub fn monitoring_address(&self) -> Option<SocketAddr> {
        self.monitoring.as_ref().map(|monitoring| monitoring.address)
    }

    /// Reads the certificate's files again. Connections from now on get the new certificate; those that are open stay.
    ///
    /// # Errors
    /// The files cannot be used, or are for another key than clients pin ([`TlsError::OtherKey`]). The relay goes on with
    /// what it had.
    pub fn reload_certificate(&self) -> Result<(), StartError> {
        let identity = Identity::of(&self.config)?;
        identity.must_be(&self.address.fingerprint)?;
        let server = endpoint::server(identity.server_config()?).map_err(ListenError::from)?;
        self.endpoint.set_server_config(Some(server));
        Ok(())
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.count.open()
    }

    /// What it keeps.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Deletes what is too old by the relay's clock now, instead of within a minute or an hour. Says how many envelopes that were.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn expire(&self) -> Result<u64, StoreError> {
        retention::write_incidents(&self.service).await?;
        retention::restamp(&self.service).await?;
        retention::prune(&self.service).await?;
        retention::expire_blobs(&self.service, self.config.retention_days).await?;
        retention::expire(&self.service, self.config.retention_days).await
    }

    /// Puts right what an interruption left of files, instead of within an hour.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn collect_blobs(&self) -> Result<(), StoreError> {
        retention::collect_blobs(&self.service).await
    }

    /// Deletes what has had its time at the extension, instead of within a minute. Says how many rows.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune_extension(&self) -> Result<usize, StoreError> {
        retention::prune_extension(&self.service).await
    }

    /// Stops: tells clients to go, finishes what they asked for, and closes the store with its files at rest.
    pub async fn shutdown(self) {
        let Self { service, store, observer, monitoring, stop, mut ended, tasks, .. } = self;
        // An error means that nobody listens any more.
        let _ = stop.send(true);
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("a task of the relay failed");
            }
        }
        if let Some(monitoring) = monitoring {
            monitoring.stop().await;
        }
        if let Err(error) = retention::write_incidents(&service).await {
            tracing::warn!(error = error.kind(), "incidents could not be written");
        }
        retention::save_limits(&service).await;
        retention::note_time(&service).await;
        let blobs = service.blobs.as_ref().map(|blobs| Arc::clone(&blobs.store));
        drop(service);
        if timeout(LAST_TASKS, ended.recv()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        if let Some(blobs) = blobs
            && let Err(error) = blobs.close().await
        {
            tracing::error!(%error, "the files' store could not be closed cleanly");
        }
        close_store(store).await;
        observer.close();
        tracing::info!("stopped");
    }
}

/// Closes a store, and waits until its files are released unless something else has it still.
pub async fn close_store(store: Arc<dyn Store>) {
    if let Err(error) = store.close().await {
        tracing::error!(error = error.kind(), "the store could not be closed cleanly");
    }
    // Joins the store's threads, which blocks. An error there is a panic that has been printed.
    let _ = tokio::task::spawn_blocking(move || drop(store)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_has_a_host_that_others_can_use() {
        let shown = |host: Option<&str>, local: &str| {
            let config = Config { public_host: host.map(str::to_owned), ..Config::new("data") };
            address(&config, local.parse().unwrap(), [7; 32]).map(|url| url.host_port())
        };
        assert_eq!(shown(None, "127.0.0.1:7").unwrap(), "127.0.0.1:7");
        assert_eq!(shown(None, "[::1]:7").unwrap(), "[::1]:7");
        assert_eq!(shown(Some("relay.example"), "0.0.0.0:7").unwrap(), "relay.example:7");
        assert_eq!(shown(Some("[2001:db8::5]"), "[::]:7").unwrap(), "[2001:db8::5]:7");
        for wildcard in ["0.0.0.0:7", "[::]:7"] {
            let host = shown(None, wildcard).unwrap();
            assert!(!host.contains("0.0.0.0") && !host.contains("[::]"), "{host}");
        }
        assert!(matches!(shown(Some("relay example"), "0.0.0.0:7"), Err(StartError::PublicHost(_))));
    }
}
