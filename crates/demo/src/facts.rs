//! Everything that the demo claims, with how it was found out. A claim that does not hold fails the demo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kuvert_cli::error::Failure;
use kuvert_cli::output::time::Zone;
use kuvert_lens_page::view::place;
use kuvert_relay_lens::observe::Observed;
use serde::Serialize;
use serde_json::{Value, json};

/// Something that the relay learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The row of docs/METADATA.md.
    pub row: &'static str,
    /// What kind of thing.
    pub what: &'static str,
    /// What exactly, in this run.
    pub seen: String,
}

/// Something that stayed private, and how that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Private {
    /// What kind of thing.
    pub what: &'static str,
    /// How it was checked.
    pub how: String,
    /// Whether the check held.
    pub holds: bool,
}

/// What was found out during the run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Texts that the relay accepted.
    pub sent: usize,
    /// Texts that were shown to whom they were for, each counted once.
    pub read: usize,
    /// Texts that were shown more than once.
    pub repeated: usize,
    /// Texts that were read after one that was sent later.
    pub out_of_order: usize,
    /// Texts that their sender knows to be read.
    pub known_to_be_read: usize,
    /// Occurrences of texts in the relay's files, over all searches.
    pub texts_found: usize,
    /// Occurrences of what the two call each other.
    pub aliases_found: usize,
    /// Occurrences of safety numbers.
    pub numbers_found: usize,
    /// Occurrences of the clients' store keys.
    pub keys_found: usize,
    /// Bytes of the first letter in the relay's files while it waited.
    pub bytes_while_waiting: usize,
    /// Bytes of ciphertext in the relay's files after everything was delivered, without what stood there before.
    pub bytes_left: usize,
    /// Bytes of the first letter that the relay knew before: its sender's certificate.
    pub bytes_known_before: usize,
    /// Sizes of all ciphertexts that waited at the relay.
    pub sizes: Vec<usize>,
    /// Envelopes that waited and were no texts: receipts.
    pub receipts: usize,
    /// Sizes of texts that went within a session.
    pub text_sizes: BTreeSet<usize>,
    /// Sizes of receipts.
    pub receipt_sizes: BTreeSet<usize>,
    /// From the acknowledgement to the last byte, milliseconds.
    pub gone_after_ms: u128,
    /// Occurrences of a name that the relay does know: shows that the search finds what is there.
    pub control_found: usize,
    /// Searches through all files.
    pub searches: usize,
    /// Files in the last search.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: usize,
    /// Alice's and Bob's safety number.
    pub safety_numbers: (String, String),
    /// Envelopes that wait at the end.
    pub waiting_at_end: usize,
    /// What the relay learned.
    pub relay_saw: Vec<Seen>,
    /// How long everything took, milliseconds.
    pub milliseconds: u128,
}

impl Facts {
    /// Whether both sides show the same number.
    pub fn safety_numbers_equal(&self) -> bool {
        !self.safety_numbers.0.is_empty() && self.safety_numbers.0 == self.safety_numbers.1
    }

    /// What stayed private, from this run.
    pub fn private(&self) -> Vec<Private> {
        let searched = format!("in {} files", self.files);
        let mut private = vec![
            Private {
                what: "every word",
                how: format!("{} texts, searched {searched}: {}", self.sent, found(self.texts_found)),
                holds: self.texts_found == 0,
            },
            Private {
                what: "after delivery",
                how: format!(
                    "{} bytes of ciphertext in {} envelopes: {} left, gone {} ms after delivery",
                    grouped(self.sizes.iter().sum()),
                    self.sizes.len(),
                    grouped(self.bytes_left),
                    self.gone_after_ms
                ),
                holds: self.bytes_left == 0 && self.waiting_at_end == 0,
            },
            Private {
                what: "what they are called",
                how: format!("the aliases in both address books: {}", found(self.aliases_found)),
                holds: self.aliases_found == 0,
            },
            Private {
                what: "keys",
                how: format!(
                    "both clients' store keys and the safety number: {}",
                    found(self.keys_found + self.numbers_found)
                ),
                holds: self.keys_found + self.numbers_found == 0,
            },
            Private {
                what: "nobody in between",
                how: "both sides computed the same safety number".to_owned(),
                holds: self.safety_numbers_equal(),
            },
        ];
        if !self.receipt_sizes.is_empty() && self.receipt_sizes.is_subset(&self.text_sizes) {
            private.push(Private {
                what: "text or receipt",
                how: format!("{} receipts among them, of the same size as texts", self.receipts),
                holds: true,
            });
        }
        private
    }

    /// One line on the searches.
    pub fn how_it_was_checked(&self) -> String {
        format!(
            "Checked in this run: {} searches through all files of the relay ({} in the last). The same search found the \
             name \"alice\" {} and, while it waited, {} bytes of the letter.",
            self.searches,
            if self.file_bytes < 10_000_000 {
                format!("{} kB", grouped(self.file_bytes / 1000))
            } else {
                format!("{} MB", self.file_bytes / 1_000_000)
            },
            times(self.control_found),
            grouped(self.bytes_while_waiting)
        )
    }

    /// The JSON document.
    pub fn document(&self, kept: Option<&Path>) -> Value {
        json!({
            "type": "demo",
            "sent": self.sent,
            "read": self.read,
            "texts_found_on_relay": self.texts_found,
            "bytes_left_after_delivery": self.bytes_left,
            "safety_numbers_equal": self.safety_numbers_equal(),
            "relay_saw": self.relay_saw,
            "stayed_private": self.private(),
            "out_of_order": self.out_of_order,
            "read_receipts": self.known_to_be_read,
            "envelopes": self.sizes.len(),
            "ciphertext_bytes": self.sizes.iter().sum::<usize>(),
            "bytes_known_before": self.bytes_known_before,
            "bytes_found_while_waiting": self.bytes_while_waiting,
            "gone_after_ms": self.gone_after_ms,
            "aliases_found_on_relay": self.aliases_found,
            "keys_found_on_relay": self.keys_found + self.numbers_found,
            "control_found_on_relay": self.control_found,
            "waiting_at_end": self.waiting_at_end,
            "searches": self.searches,
            "files_searched": self.files,
            "bytes_searched": self.file_bytes,
            "safety_number": self.safety_numbers.0,
            "milliseconds": self.milliseconds,
            "kept": kept,
        })
    }

    /// Fails where a claim did not hold.
    ///
    /// # Errors
    /// Which one.
    pub fn verdict(&self) -> Result<(), Failure> {
        let mut broken: Vec<&str> =
            self.private().into_iter().filter(|private| !private.holds).map(|private| private.what).collect();
        if self.read != self.sent || self.repeated > 0 {
            broken.push("not every text was read exactly once");
        }
        if self.control_found == 0 || self.bytes_while_waiting == 0 {
            broken.push("the search finds nothing at all");
        }
        if broken.is_empty() {
            return Ok(());
        }
        Err(Failure::new("demo-claim-broken", format!("not as promised: {}", broken.join("; "))))
    }
}

/// The name of the account of a device, as the relay knows it.
pub fn name(device: &Option<String>, names: &BTreeMap<String, String>) -> String {
    let account = device.as_deref().unwrap_or_default().split('.').next().unwrap_or_default();
    names.get(account).cloned().unwrap_or_else(|| "an account".to_owned())
}

/// What the relay learned, from its own records. `names` are the accounts' names as the relay knows them.
pub fn seen(observations: &[Observed], names: &BTreeMap<String, String>, zone: &Zone) -> Vec<Seen> {
    let of_kind = |kind: &'static str| observations.iter().filter(move |observation| observation.kind == kind);
    let name = |device: &Option<String>| name(device, names);
    let mut pairs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for submitted in of_kind("submitted") {
        *pairs.entry((name(&submitted.device), name(&submitted.other))).or_default() += 1;
    }
    let pairs: Vec<String> =
        pairs.iter().map(|((from, to), count)| format!("{from} → {to} {count} envelopes")).collect();
    let times: Vec<u64> = of_kind("submitted").map(|submitted| submitted.at).collect();
    let span = match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => {
            let (first_at, last_at) = (zone.time_of_day_exact(*first), zone.time_of_day_exact(*last));
            format!("each to the millisecond, {first_at} to {last_at}")
        }
        _ => "none".to_owned(),
    };
    let addresses: BTreeSet<&str> = of_kind("connected").filter_map(|connected| connected.ip.as_deref()).collect();
    let connections: BTreeSet<u32> = of_kind("connected").filter_map(|connected| connected.connection).collect();
    let attached = of_kind("attached").map(|attached| name(&attached.device)).collect::<Vec<_>>();
    let online: BTreeMap<&String, usize> = attached.iter().fold(BTreeMap::new(), |mut counts, who| {
        *counts.entry(who).or_default() += 1;
        counts
    });
    let online: Vec<String> = online.iter().map(|(who, count)| format!("{who} {}", self::times(*count))).collect();
    let mut first_contacts: Vec<String> =
        of_kind("bundle_taken").map(|taken| format!("{} → {}", name(&taken.device), name(&taken.other))).collect();
    first_contacts.dedup();
    let sizes: BTreeSet<u64> = of_kind("submitted").filter_map(|submitted| submitted.size).collect();
    let sizes: Vec<String> = sizes.iter().map(|size| grouped(usize::try_from(*size).unwrap_or(usize::MAX))).collect();
    // In the order of the alphabet: the accounts that they belong to are drawn at random.
    let names: BTreeSet<&str> = names.values().map(String::as_str).collect();
    vec![
        Seen { row: "M-09", what: "who with whom", seen: pairs.join(", ") },
        Seen { row: "M-10", what: "when", seen: span },
        Seen { row: "M-10", what: "who was online", seen: format!("fetched mail: {}", online.join(", ")) },
        Seen {
            row: "M-11",
            what: "from where",
            seen: format!(
                "{} on {} connections",
                addresses.iter().map(|address| with_place(address)).collect::<Vec<_>>().join(", "),
                connections.len()
            ),
        },
        Seen { row: "M-09", what: "first contact", seen: first_contacts.join(", ") },
        Seen { row: "M-09", what: "how much", seen: format!("padded sizes: {} bytes", sizes.join(", ")) },
        Seen { row: "M-16", what: "the names they took", seen: names.into_iter().collect::<Vec<_>>().join(", ") },
    ]
}

/// An address and, by a simulated table, where it is.
fn with_place(address: &str) -> String {
    match place::of_address(address) {
        Some(place) => format!("{address} ({place}, simulated)"),
        None => address.to_owned(),
    }
}

/// `not found`, `found once`, `found 3 times`
fn found(count: usize) -> String {
    if count == 0 { "not found".to_owned() } else { format!("found {}", times(count)) }
}

/// `once`, `3 times`
fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// `12,345`
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            sent: 3,
            read: 3,
            bytes_while_waiting: 512,
            control_found: 2,
            safety_numbers: ("1".into(), "1".into()),
            ..Facts::default()
        }
    }

    #[test]
    fn a_broken_claim_fails_the_demo() {
        assert!(good().verdict().is_ok());
        for broken in [
            Facts { texts_found: 1, ..good() },
            Facts { bytes_left: 16, ..good() },
            Facts { aliases_found: 1, ..good() },
            Facts { keys_found: 1, ..good() },
            Facts { read: 2, ..good() },
            Facts { repeated: 1, ..good() },
            Facts { waiting_at_end: 1, ..good() },
            Facts { safety_numbers: ("1".into(), "2".into()), ..good() },
            Facts { control_found: 0, ..good() },
            Facts { bytes_while_waiting: 0, ..good() },
        ] {
            assert!(broken.verdict().is_err(), "{broken:?}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_relays_own_records_say_who_writes_to_whom() {
        let names = BTreeMap::from([("a".to_owned(), "alice".to_owned()), ("b".to_owned(), "bob".to_owned())]);
        let submitted = |at, size| Observed {
            at,
            kind: "submitted".into(),
            device: Some("a.1".into()),
            other: Some("b.1".into()),
            size: Some(size),
            ..Observed::default()
        };
        let seen = seen(&[submitted(1, 2048), submitted(2, 512)], &names, &Zone::utc());
        assert_eq!(seen[0].seen, "alice → bob 2 envelopes");
        assert!(seen.iter().any(|seen| seen.seen.contains("512, 2,048")), "{seen:?}");
    }
}
