//! The report: all that the relay says it holds about this account. A relay may be hostile: how long fetching takes, how large
//! the report is and what its files are called is bounded here, and the page to read is made here from the data. A page of the
//! relay's own making would run in the user's browser.

mod page;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

pub use self::page::ReportFile;
use crate::connection::Connection;
use crate::error::Error;

/// Bytes of a report that are taken from a relay at most: a hundred times what an account with a full mailbox has.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Pieces that a report is taken in at most: of 16 KiB each, a quarter of those that a relay sends.
const MAX_PIECES: usize = 4096;

/// How long fetching a report takes at most, all pieces together: each has [`crate::Options::request_timeout`] for itself, and a
/// relay that uses it up for every piece would hold the client for hours.
const MAX_DURATION: Duration = Duration::from_secs(600);

/// The file that says what the others hold.
const MANIFEST: &str = "manifest.json";

/// The page to read.
const PAGE: &str = "index.html";

/// Every other file that a relay makes.
const DATA: [&str; 7] = [
    "account_information.json",
    "connections.json",
    "settings.json",
    "queue.json",
    "recipients.json",
    "consents.json",
    "not_held.json",
];

/// A report that was asked for. Times are Unix milliseconds by the relay's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReportStatus {
    /// When it was asked for.
    pub requested_at: u64,
    /// From when on it can be fetched.
    pub ready_at: u64,
    /// Until when.
    pub kept_until: u64,
}

/// The files of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// With `manifest.json`, whose SHA-256 values fit the other data, and `index.html`, which this program made.
    pub files: Vec<ReportFile>,
}

impl Connection {
    /// Asks for the report. While one that was asked for is not made yet, that one counts.
    ///
    /// # Errors
    /// `limited`, and those of the connection.
    pub async fn request_report(&self) -> Result<ReportStatus, Error> {
        match self.request(client_frame::Body::RequestReport(v1::RequestReport {})).await? {
            Ok(server_frame::Body::ReportStatus(status)) => {
                let v1::ReportStatus { requested_at, ready_at, kept_until } = status;
                Ok(ReportStatus { requested_at, ready_at, kept_until })
            }
            Ok(_) => Err(Error::RelayProtocol { what: "no word about the report" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Fetches the report that was asked for, checks it against its manifest, and makes the page to read.
    ///
    /// # Errors
    /// `report-not-ready`, `relay-refused` (none was asked for), `relay-protocol`, `request-timeout`, and those of the
    /// connection.
    pub async fn fetch_report(&self) -> Result<Report, Error> {
        within(MAX_DURATION, fetch(self)).await
    }
}

/// What a relay takes too long for is given up.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or(Err(Error::RequestTimeout { seconds: limit.as_secs() }))
}

async fn fetch(connection: &Connection) -> Result<Report, Error> {
    let mut pieces = Pieces::default();
    loop {
        let request = v1::FetchReport { offset: pieces.bytes.len() as u64 };
        let piece = match connection.request(client_frame::Body::FetchReport(request)).await? {
            Ok(server_frame::Body::ReportPiece(piece)) => piece,
            Ok(_) => return Err(Error::RelayProtocol { what: "no piece of the report" }),
            Err(refusal) if refusal.code == Code::NotReady => {
                return Err(Error::ReportNotReady { seconds: refusal.retry_after.as_secs() });
            }
            Err(refusal) => return Err(refusal.into_error()),
        };
        if pieces.take(&piece)? {
            return check(&pieces.bytes);
        }
    }
}

/// The pieces of a report, put together.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    count: usize,
    /// As the first piece said.
    total: Option<u64>,
}

impl Pieces {
    /// Takes the next piece, and says whether it was the last.
    fn take(&mut self, piece: &v1::ReportPiece) -> Result<bool, Error> {
        self.count += 1;
        let total = *self.total.get_or_insert(piece.total);
        let have = (self.bytes.len() + piece.bytes.len()) as u64;
        let fits = total == piece.total && total <= MAX_REPORT_BYTES && have <= total;
        if !fits || piece.bytes.is_empty() || self.count > MAX_PIECES {
            return Err(Error::RelayProtocol { what: "pieces that make no report" });
        }
        self.bytes.extend_from_slice(&piece.bytes);
        Ok(have == total)
    }
}

/// What the relay sent becomes files: their names are known, and they are what the manifest says. Its page is left out.
fn check(bytes: &[u8]) -> Result<Report, Error> {
    let wrong = || Error::RelayProtocol { what: "a report that does not fit its manifest" };
    let sent = v1::Report::decode(bytes).map_err(|_| wrong())?;
    let count = sent.files.len();
    let sent: BTreeMap<String, Vec<u8>> =
        sent.files.into_iter().map(|file| (file.name, file.content.to_vec())).collect();
    let known = |name: &str| name == MANIFEST || name == PAGE || DATA.contains(&name);
    if sent.len() != count || !sent.keys().all(|name| known(name)) {
        return Err(wrong());
    }
    let digests = digests(sent.get(MANIFEST).ok_or_else(wrong)?).ok_or_else(wrong)?;
    let is_told = |(name, content): (&String, &Vec<u8>)| {
        name == MANIFEST || digests.get(name).is_some_and(|told| *told == digest(content))
    };
    if !sent.iter().all(is_told) {
        return Err(wrong());
    }
    let mut files: Vec<ReportFile> =
        sent.into_iter().filter(|(name, _)| name != PAGE).map(|(name, content)| ReportFile { name, content }).collect();
    files.push(ReportFile { name: PAGE.to_owned(), content: page::html(&files).into_bytes() });
    Ok(Report { files })
}

/// Which SHA-256 the manifest gives to which file.
fn digests(manifest: &[u8]) -> Option<BTreeMap<String, String>> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    let entry = |file: &Value| Some((file.get("name")?.as_str()?.to_owned(), file.get("sha256")?.as_str()?.to_owned()));
    manifest.get("files")?.as_array()?.iter().map(entry).collect()
}

fn digest(content: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: &[(&str, &str)]) -> Vec<u8> {
        let told: Vec<Value> = files
            .iter()
            .map(|(name, content)| serde_json::json!({ "name": name, "sha256": digest(content.as_bytes()) }))
            .collect();
        let file = |name: &str, content: &str| v1::ReportFile {
            name: name.to_owned(),
            content: content.as_bytes().to_vec().into(),
        };
        let mut all: Vec<v1::ReportFile> = files.iter().map(|(name, content)| file(name, content)).collect();
        all.push(file(MANIFEST, &serde_json::json!({ "files": told }).to_string()));
        v1::Report { files: all }.encode_to_vec()
    }

    fn piece(total: u64, bytes: usize) -> v1::ReportPiece {
        v1::ReportPiece { total, bytes: vec![7; bytes].into() }
    }

    #[test]
    fn only_known_names_and_contents_that_fit_the_manifest_are_taken() {
        let good = report(&[("queue.json", "{}"), ("settings.json", "{\"a\": 1}")]);
        let names: Vec<String> = check(&good).unwrap().files.into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["manifest.json", "queue.json", "settings.json", "index.html"]);
        for name in
            ["../queue.json", "/etc/passwd", "", ".profile", "a/b", "A", "x\\y", "x\0", "other.json", "index.htm"]
        {
            assert!(check(&report(&[(name, "{}")])).is_err(), "{name:?}");
        }
        assert!(check(&report(&[("queue.json", "1"), ("queue.json", "1")])).is_err(), "twice");
        assert!(check(&v1::Report::default().encode_to_vec()).is_err(), "no manifest");
        let mut changed = v1::Report::decode(&good[..]).unwrap();
        changed.files[0].content = b"{ }".to_vec().into();
        assert!(check(&changed.encode_to_vec()).is_err());
        // The digest of another file stands in the manifest, too.
        changed.files[0].content = changed.files[1].content.clone();
        assert!(check(&changed.encode_to_vec()).is_err());
        assert!(check(&good[..good.len() - 1]).is_err());
    }

    #[test]
    fn the_page_of_the_relay_is_not_taken() {
        let sent = report(&[
            ("queue.json", "{\"envelope\": [\"<script>alert(1)</script>\"]}"),
            (PAGE, "<script>evil()</script>"),
        ]);
        let files = check(&sent).unwrap().files;
        let page = files.iter().find(|file| file.name == PAGE).unwrap();
        let page = std::str::from_utf8(&page.content).unwrap();
        assert!(!page.contains("evil") && !page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    }

    #[test]
    fn pieces_are_bounded() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.take(&piece(3, 2)), Ok(false));
        assert_eq!(pieces.take(&piece(3, 1)), Ok(true));
        for (first, then) in [
            (piece(3, 1), piece(3, 0)), // nothing comes
            (piece(3, 1), piece(4, 1)), // it grows
            (piece(3, 1), piece(3, 3)), // more than was said
        ] {
            let mut pieces = Pieces::default();
            assert_eq!(pieces.take(&first), Ok(false));
            assert_eq!(pieces.take(&then).unwrap_err().code(), "relay-protocol", "{then:?}");
        }
        assert!(Pieces::default().take(&piece(0, 0)).is_err());
        assert!(Pieces::default().take(&piece(MAX_REPORT_BYTES + 1, 1)).is_err(), "too large, said before it is sent");
        let mut drops = Pieces::default();
        let taken = (0..2 * MAX_PIECES).take_while(|_| drops.take(&piece(MAX_REPORT_BYTES, 1)) == Ok(false)).count();
        assert_eq!(taken, MAX_PIECES, "byte by byte it would take for ever");
    }

    #[tokio::test]
    async fn fetching_ends_after_its_time() {
        let never = std::future::pending::<Result<(), Error>>();
        assert_eq!(within(Duration::ZERO, never).await, Err(Error::RequestTimeout { seconds: 0 }));
        assert_eq!(within(MAX_DURATION, std::future::ready(Ok(1))).await, Ok(1));
    }
}
