//! The page over HTTP, on loopback only, for those who have its address: see `token`. Everything that it loads comes
//! from this program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::uri::Uri;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use futures_util::{Stream, stream};
use kuvert_privacy::registry::Level;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::files::{Files, FilesError, Snapshot};
use crate::token::Token;
use crate::view::{HandOver, View};
use crate::{Options, PageError, transcript, watch as files_watch};

const INDEX: &str = include_str!("../web/index.html");
const SCRIPT: &str = include_str!("../web/dist/lens.js");
const STYLE: &str = include_str!("../web/lens.css");
/// As `kuvert-lens score --document docs/LENS.md` wrote it.
const SCORECARD: &str = include_str!("../../../docs/lens-scorecard.json");
const ICON: &str = include_str!("../web/icon.svg");

/// Nothing from elsewhere, nothing inline, no frames, no forms.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's server, bound and ready.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    page: Page,
}

#[derive(Debug)]
struct Page {
    address: SocketAddr,
    token: Token,
    files: Files,
    options: Options,
    changes: watch::Receiver<u64>,
}

impl Server {
    /// Opens the files and binds the port.
    ///
    /// # Errors
    /// See [`PageError`].
    pub async fn bind(options: Options) -> Result<Self, PageError> {
        if !options.listen.ip().is_loopback() {
            return Err(PageError::NotLoopback(options.listen));
        }
        let files = Files::open(&options.data)?;
        let listen = |error| PageError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let token = Token::draw().map_err(PageError::Randomness)?;
        let changes = files_watch::start(files.clone());
        Ok(Self { listener, address, page: Page { address, token, files, options, changes } })
    }

    /// `http://127.0.0.1:…/?token=…`: who has it may read the page.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.page.token.digits())
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// [`PageError::Serve`]
    pub async fn serve(self) -> Result<(), PageError> {
        let page = Arc::new(self.page);
        let parts = Router::new()
            .route("/", get(|| async { asset("text/html; charset=utf-8", INDEX) }))
            .route("/lens.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
            .route("/lens.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
            .route("/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
            .route("/api/scorecard", get(|| async { asset("application/json", SCORECARD) }))
            .route("/api/view", get(view))
            .route("/api/hand-over", get(hand_over))
            .route("/api/changes", get(changes));
        let router = Router::new()
            .route("/", get(enter))
            .nest(&format!("/{}/", page.token.digits()), parts)
            .layer(middleware::from_fn_with_state(Arc::clone(&page), guard))
            .with_state(page);
        axum::serve(self.listener, router).await.map_err(PageError::Serve)
    }
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}

/// Answers only to this machine's own names, so that no web page elsewhere reaches it by a name of its own that resolves
/// to loopback, and only to those who have the token; and tells the browser to load and keep nothing else.
async fn guard(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let mut response = match refused(&page, &request) {
        Some((status, why)) => (status, why).into_response(),
        None => next.run(request).await,
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request gets no answer.
fn refused(page: &Page, request: &Request) -> Option<(StatusCode, &'static str)> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default(), hosts.next());
    if second.is_some() {
        return Some((StatusCode::BAD_REQUEST, "one Host header is enough\n"));
    }
    let own = [page.address.to_string(), format!("localhost:{}", page.address.port())];
    if !own.iter().any(|own| own == host) {
        return Some((StatusCode::MISDIRECTED_REQUEST, "the lens answers on its loopback address only\n"));
    }
    if !brought(request.uri()).is_some_and(|brought| page.token.is(brought)) {
        return Some((
            StatusCode::FORBIDDEN,
            "the lens is for those who have its address: it is printed where it runs\n",
        ));
    }
    None
}

/// The token of a request: the first part of its path, or in the address that was printed, the query.
fn brought(uri: &Uri) -> Option<&str> {
    match uri.path() {
        "/" => uri.query()?.strip_prefix("token="),
        path => path.strip_prefix('/')?.split('/').next(),
    }
}

/// From the address that was printed to the page.
async fn enter(State(page): State<Arc<Page>>) -> Redirect {
    Redirect::to(&format!("/{}/", page.token.digits()))
}

#[derive(Deserialize)]
struct AtLevel {
    #[serde(default)]
    level: String,
}

impl AtLevel {
    /// The level asked for; L0 where the words are none.
    fn level(&self) -> Level {
        Level::ALL.iter().copied().find(|level| level.words() == self.level).unwrap_or(Level::L0)
    }
}

async fn view(State(page): State<Arc<Page>>, Query(at): Query<AtLevel>) -> Response {
    let level = at.level();
    let clients = page.options.clients.clone();
    answer(&page, move |snapshot| {
        let columns = clients.iter().map(|(name, path)| transcript::read(name, path)).collect();
        Json(View::of(snapshot, level, columns, now())).into_response()
    })
    .await
}

async fn hand_over(State(page): State<Arc<Page>>, Query(at): Query<AtLevel>) -> Response {
    let level = at.level();
    answer(&page, move |snapshot| {
        let name = format!("attachment; filename=\"hand-over-{level}.json\"");
        ([(header::CONTENT_DISPOSITION, name)], Json(HandOver::of(snapshot, level, now()))).into_response()
    })
    .await
}

/// Reads the files and answers from them, on a thread that may wait for the disk.
async fn answer(page: &Arc<Page>, with: impl FnOnce(&Snapshot) -> Response + Send + 'static) -> Response {
    let page = Arc::clone(page);
    let answered = tokio::task::spawn_blocking(move || match page.files.read() {
        Ok(snapshot) => with(&snapshot),
        Err(error) => failed(&error),
    });
    // Only a panic ends it otherwise, and that has been printed.
    answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn failed(error: &FilesError) -> Response {
    let body = json!({"type": "error", "code": "lens-relay-files", "message": error.to_string()});
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}

/// An event each time the files change.
async fn changes(State(page): State<Arc<Page>>) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    let changes = stream::unfold(page.changes.clone(), |mut changes| async move {
        changes.changed().await.ok()?;
        let count = *changes.borrow_and_update();
        Some((Ok(Event::default().event("changed").data(count.to_string())), changes))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
