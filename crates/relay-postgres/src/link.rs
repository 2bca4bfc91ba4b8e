//! Connections: one that is used at a time, and a few for what is in no order.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, Statement};

use crate::outcome::Fault;
use crate::settings::{Settings, SettingsError};
use crate::tls::Tls;

/// How long a statement may take until its connection is closed: it waits for a standby that does not come, or the server is cut
/// off. It is never cancelled: the server would answer with success for what one machine alone has.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long connecting to one server may take, with all that belongs to it. One that stands still takes connections and answers nothing:
/// by then another one may have become the one that takes writes, and all are tried again.
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);

/// Between two tries of a server that refuses, while another one does not answer.
const AGAIN: Duration = Duration::from_millis(300);

/// Connections for what is in no order.
const POOL: u32 = 8;

/// What a session begins with. A statement that waits for a lock gives up before our own timeout: then it surely did not happen.
const SESSION: &str = "SET plan_cache_mode = force_generic_plan; SET synchronous_commit = on; SET lock_timeout = '6s';
    SET idle_in_transaction_session_timeout = '10s'; SET client_min_messages = warning;
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";

/// The severity that the server never translates.
const WARNING: &str = "WARNING";

/// Makes connections.
#[derive(Clone)]
pub struct Door {
    settings: Settings,
    tls: Option<Tls>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Door {
    /// To these servers.
    ///
    /// # Errors
    /// The roots cannot be read.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let tls = settings.roots().map(Tls::new).transpose()?;
        Ok(Self { settings, tls })
    }

    /// Where that is, without a password.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A new connection. Within a tokio runtime.
    ///
    /// # Errors
    /// Nothing was sent that could have happened.
    pub async fn open(&self) -> Result<Link, Fault> {
        // All servers of the group at once: the first that takes writes has it. One after the other would not do, as a server that stands
        // still takes connections and answers nothing. While one does, those that refused are asked again: they may be about to take
        // its place.
        let tried = |config: Config, after: Duration, first: bool| async move {
            sleep(after).await;
            (timeout(OPEN_TIMEOUT, self.connect_to(config.clone())).await, config, first)
        };
        let each = self.settings.each();
        let mut silent = each.len();
        let mut tries: FuturesUnordered<_> =
            each.into_iter().map(|config| tried(config, Duration::ZERO, true)).collect();
        let mut last = Fault::not("the store's address names no server");
        while let Some((connected, config, first)) = tries.next().await {
            silent -= usize::from(first);
            match connected {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(fault)) => {
                    last = fault;
                    if silent > 0 {
                        tries.push(tried(config, AGAIN, false));
                    }
                }
                Err(_) => last = Fault::not("a server of the group did not answer in time"),
            }
        }
        Err(last)
    }

    async fn connect_to(&self, config: Config) -> Result<Link, Fault> {
        let link = match &self.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(|error| Fault::connecting(&error))?;
                Link::new(client, connection)
            }
            Some(tls) => {
                let connected = config.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(|error| Fault::connecting(&error))?;
                Link::new(client, connection)
            }
        };
        link.client.batch_execute(SESSION).await.map_err(|error| Fault::connecting(&error))?;
        link.warned.store(false, Ordering::Release);
        Ok(link)
    }
}

/// A connection.
pub struct Link {
    client: Client,
    /// A WARNING came: nothing that this connection answers can be relied on.
    warned: Arc<AtomicBool>,
    /// Within a transaction that was not committed, or given up in the middle of something.
    unfinished: AtomicBool,
    statements: Mutex<HashMap<&'static str, Statement>>,
    task: AbortHandle,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.unfinished.load(Ordering::Acquire) {
            // The socket closes at once. Without, the task would wait for an answer that may never come.
            self.task.abort();
        }
    }
}

/// Arguments of a statement.
pub type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Link {
    fn new<S, T>(client: Client, mut connection: Connection<S, T>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
    {
        let warned = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&warned);
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.severity() == WARNING
                {
                    noted.store(true, Ordering::Release);
                    tracing::warn!(code = notice.code().code(), "the server warns: its answers are taken for unknown");
                }
            }
        });
        Self {
            client,
            warned,
            unfinished: AtomicBool::new(false),
            statements: Mutex::default(),
            task: task.abort_handle(),
        }
    }

    /// Whether it may be used for something else.
    pub fn is_healthy(&self) -> bool {
        !self.client.is_closed() && !self.warned.load(Ordering::Acquire) && !self.unfinished.load(Ordering::Acquire)
    }

    /// Waits for an answer, for so long; and looks whether it can be relied on.
    async fn guarded<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Fault> {
        let Ok(answer) = timeout(STATEMENT_TIMEOUT, answer).await else {
            self.unfinished.store(true, Ordering::Release);
            return Err(Fault::unknown("the server did not answer in time"));
        };
        // The warning came before the answer, on the same connection.
        if self.warned.load(Ordering::Acquire) {
            return Err(Fault::unknown("the server warned"));
        }
        answer.map_err(|error| Fault::from_error(&error))
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepares statements ahead.
    ///
    /// # Errors
    /// Nothing happened but that.
    pub async fn prepare(&self, all: &[&'static str]) -> Result<(), Fault> {
        for sql in all {
            self.guarded(self.statement(sql)).await?;
        }
        Ok(())
    }

    /// The rows of a statement, which is prepared once.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn query(&self, sql: &'static str, arguments: Arguments<'_>) -> Result<Vec<Row>, Fault> {
        self.guarded(async { self.client.query(&self.statement(sql).await?, arguments).await }).await
    }

    /// The rows of a statement that is made up as it goes.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn query_once(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<Row>, Fault> {
        self.guarded(self.client.query(sql, arguments)).await
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn query_opt(&self, sql: &'static str, arguments: Arguments<'_>) -> Result<Option<Row>, Fault> {
        Ok(self.query(sql, arguments).await?.into_iter().next())
    }

    /// The only row.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn query_one(&self, sql: &'static str, arguments: Arguments<'_>) -> Result<Row, Fault> {
        self.query_opt(sql, arguments).await?.ok_or_else(|| Fault::not("a row is missing"))
    }

    /// How many rows a statement changed.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn execute(&self, sql: &'static str, arguments: Arguments<'_>) -> Result<u64, Fault> {
        self.guarded(async { self.client.execute(&self.statement(sql).await?, arguments).await }).await
    }

    /// Statements without arguments.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.guarded(self.client.batch_execute(sql)).await
    }

    /// Begins a transaction. Without a [`commit`](Self::commit) the connection is closed, which takes everything back.
    ///
    /// # Errors
    /// See [`crate::outcome`].
    pub async fn begin(&self) -> Result<(), Fault> {
        self.unfinished.store(true, Ordering::Release);
        self.batch("BEGIN").await
    }

    /// Ends a transaction.
    ///
    /// # Errors
    /// See [`crate::outcome`]. What the statement COMMIT itself raises did not happen.
    pub async fn commit(&self) -> Result<(), Fault> {
        self.batch("COMMIT").await?;
        self.unfinished.store(false, Ordering::Release);
        Ok(())
    }

    /// A transaction is sent by hand: without [`mark_finished`](Self::mark_finished) the connection is closed.
    pub(crate) fn mark_unfinished(&self) {
        self.unfinished.store(true, Ordering::Release);
    }

    /// Its end was answered.
    pub(crate) fn mark_finished(&self) {
        self.unfinished.store(false, Ordering::Release);
    }

    /// For statements that are pipelined by hand.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// A prepared statement, for the same.
    pub(crate) async fn prepared(&self, sql: &'static str) -> Result<Statement, Fault> {
        self.guarded(self.statement(sql)).await
    }

    /// Waits for answers that were pipelined by hand.
    pub(crate) async fn wait<T>(
        &self,
        answers: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        self.guarded(answers).await
    }
}

/// A few connections, for what is in no order.
#[derive(Clone)]
pub struct Pool(Arc<Pooled>);

struct Pooled {
    door: Door,
    size: u32,
    idle: Mutex<Vec<Link>>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.door.fmt(f)
    }
}

impl Pool {
    /// Through this door.
    pub fn new(door: Door) -> Self {
        Self::of(door, POOL)
    }

    /// So many.
    pub fn of(door: Door, size: u32) -> Self {
        let permits = Arc::new(Semaphore::new(size as usize));
        Self(Arc::new(Pooled { door, size, idle: Mutex::default(), permits }))
    }

    /// A connection, which goes back when dropped if it may be used for something else.
    ///
    /// # Errors
    /// None can be made.
    pub async fn lend(&self) -> Result<Lent, Fault> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Fault::not("the store is closed"))?;
        let idle = || self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(link) = idle() {
            if link.is_healthy() {
                return Ok(Lent { link: Some(link), pool: self.clone(), _permit: permit });
            }
        }
        let link = self.0.door.open().await?;
        Ok(Lent { link: Some(link), pool: self.clone(), _permit: permit })
    }

    /// Waits for what is lent, or waits to be, and lends nothing more.
    pub async fn finish(&self) {
        drop(self.0.permits.acquire_many(self.0.size).await);
        self.0.permits.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection of a [`Pool`]'s.
#[derive(Debug)]
pub struct Lent {
    link: Option<Link>,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Deref for Lent {
    type Target = Link;

    #[allow(clippy::expect_used)] // It is taken out by Drop alone.
    fn deref(&self) -> &Link {
        self.link.as_ref().expect("lent until dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.link.take().filter(Link::is_healthy) {
            self.pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }
}
