//! The report: all that the relay says it holds about this account.

use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::client::{Client, Connection};
use crate::error::Error;

/// Bytes of a report that are taken from a relay at most.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// A report that was asked for. Times are Unix milliseconds by the relay's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
pub struct Report {
    /// With `manifest.json`, whose SHA-256 values fit the others.
    pub files: Vec<ReportFile>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportFile {
    /// Its name: lower-case letters, digits, `_`, `-` and `.`, so that it can be written into any directory.
    pub name: String,
    /// What stands in it.
    pub content: Vec<u8>,
}

impl Client {
    /// Asks for the report. While one that was asked for is not made yet, that one counts.
    ///
    /// # Errors
    /// `limited`, and those of the connection.
    pub async fn request_report(&self, connection: &Connection) -> Result<ReportStatus, Error> {
        match connection.link().link.request(client_frame::Body::RequestReport(v1::RequestReport {})).await? {
            Ok(server_frame::Body::ReportStatus(status)) => {
                let v1::ReportStatus { requested_at, ready_at, kept_until } = status;
                Ok(ReportStatus { requested_at, ready_at, kept_until })
            }
            Ok(_) => Err(Error::RelayProtocol { what: "no word about the report" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Fetches the report that was asked for, and checks it against its manifest.
    ///
    /// # Errors
    /// `report-not-ready`, `relay-refused` (none was asked for), `relay-protocol`, and those of the connection.
    pub async fn fetch_report(&self, connection: &Connection) -> Result<Report, Error> {
        let mut whole = Vec::new();
        loop {
            let request = v1::FetchReport { offset: whole.len() as u64 };
            let piece = match connection.link().link.request(client_frame::Body::FetchReport(request)).await? {
                Ok(server_frame::Body::ReportPiece(piece)) => piece,
                Ok(_) => return Err(Error::RelayProtocol { what: "no piece of the report" }),
                Err(refusal) if refusal.code == Code::NotReady => {
                    return Err(Error::ReportNotReady { seconds: refusal.retry_after.as_secs() });
                }
                Err(refusal) => return Err(refusal.into_error()),
            };
            whole.extend_from_slice(&piece.bytes);
            let have = whole.len() as u64;
            if have == piece.total {
                return check(&whole);
            }
            if piece.bytes.is_empty() || have > piece.total || piece.total > MAX_REPORT_BYTES {
                return Err(Error::RelayProtocol { what: "pieces that make no report" });
            }
        }
    }
}

/// What the relay sent becomes files: their names are harmless, and they are what the manifest says.
fn check(bytes: &[u8]) -> Result<Report, Error> {
    let wrong = || Error::RelayProtocol { what: "a report that does not fit its manifest" };
    let report = v1::Report::decode(bytes).map_err(|_| wrong())?;
    let files: Vec<ReportFile> =
        report.files.into_iter().map(|file| ReportFile { name: file.name, content: file.content.to_vec() }).collect();
    let mut names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != files.len() || !names.iter().all(|name| is_harmless(name)) {
        return Err(wrong());
    }
    let manifest = files.iter().find(|file| file.name == "manifest.json").ok_or_else(wrong)?;
    let manifest = std::str::from_utf8(&manifest.content).map_err(|_| wrong())?;
    // Every hash stands there; that each file has its own is for whoever reads the manifest to see.
    for file in files.iter().filter(|file| file.name != "manifest.json") {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&file.content));
        if !manifest.contains(&digest) {
            return Err(wrong());
        }
    }
    Ok(Report { files })
}

fn is_harmless(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: &[(&str, &str)]) -> Vec<u8> {
        let digests: Vec<String> =
            files.iter().map(|(_, content)| data_encoding::HEXLOWER.encode(&Sha256::digest(content))).collect();
        let mut all: Vec<v1::ReportFile> = files
            .iter()
            .map(|(name, content)| v1::ReportFile {
                name: (*name).to_owned(),
                content: content.as_bytes().to_vec().into(),
            })
            .collect();
        let manifest = digests.join(",").into_bytes().into();
        all.push(v1::ReportFile { name: "manifest.json".into(), content: manifest });
        v1::Report { files: all }.encode_to_vec()
    }

    #[test]
    fn only_harmless_names_and_contents_that_fit_the_manifest_are_taken() {
        let good = report(&[("queue.json", "{}"), ("index.html", "<p>")]);
        assert_eq!(check(&good).unwrap().files.len(), 3);
        for name in ["../queue.json", "/etc/passwd", "", ".profile", "a/b", "A", "x\\y", "x\0"] {
            assert!(check(&report(&[(name, "{}")])).is_err(), "{name:?}");
        }
        assert!(check(&report(&[("a", "1"), ("a", "1")])).is_err(), "twice");
        assert!(check(&v1::Report::default().encode_to_vec()).is_err(), "no manifest");
        let mut changed = v1::Report::decode(&good[..]).unwrap();
        changed.files[0].content = b"{ }".to_vec().into();
        assert!(check(&changed.encode_to_vec()).is_err());
        assert!(check(&good[..good.len() - 1]).is_err());
    }
}
