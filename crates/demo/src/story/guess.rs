//! What a reader of the relay's observations, and of nothing else, would answer.
//!
//! Where an envelope names its source, that is who wrote. Where it does not, every account that was sent something within
//! [`NEAR`] minutes is a candidate, the nearer in time the likelier: people answer, and their devices send receipts. It is
//! the same idea as statistical disclosure (docs/LENS.md), for one day and a small town.

use std::collections::BTreeMap;

use kuvert_client::Level;
use kuvert_relay_lens::observe::Observed;

use super::town::Question;

/// Minutes within which an envelope may answer another one.
const NEAR: f64 = 15.0;

/// Minutes of the night: until six, and from eleven in the evening.
const NIGHT: (u32, u32) = (6 * 60, 23 * 60);

const MS_PER_MINUTE: u64 = 60_000;

/// An envelope as the relay saw it come in.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// Minutes since midnight.
    pub at: f64,
    /// The account that it came from, if the relay was told.
    pub from: Option<String>,
    /// The account that it was for.
    pub to: String,
    /// Bytes.
    pub size: u64,
    /// The address that it came from, where the level keeps it.
    pub ip: Option<String>,
}

/// The envelopes of the day that begins at `midnight`, in order, as the relay has them at a level: above L0 it has addresses
/// in its memory only.
pub fn seen(observations: &[Observed], midnight: u64, level: Level) -> Vec<Seen> {
    let mut addresses = BTreeMap::new();
    let account = |device: &Option<String>| device.as_ref().and_then(|d| d.split('.').next()).map(str::to_owned);
    let mut envelopes = Vec::new();
    for event in observations {
        if event.kind == "connected"
            && level == Level::L0
            && let (Some(connection), Some(ip)) = (event.connection, &event.ip)
        {
            addresses.insert(connection, ip.clone());
        }
        if event.kind != "submitted" || event.yes == Some(true) || event.at < midnight {
            continue;
        }
        let Some(to) = account(&event.other) else { continue };
        envelopes.push(Seen {
            at: (event.at - midnight) as f64 / MS_PER_MINUTE as f64,
            // Who was authenticated tells as much as what stands on the envelope.
            from: account(&event.source).or_else(|| account(&event.device)),
            to,
            size: event.size.unwrap_or_default(),
            ip: event.connection.and_then(|connection| addresses.get(&connection).cloned()),
        });
    }
    envelopes
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Guess {
    /// Accounts: one, or two for the lovers.
    pub accounts: Vec<String>,
    /// The part of all evidence that speaks for it: 1 is certain.
    pub certainty: f64,
}

/// Answers a question. `office` finds the account that a public name belongs to; `None` if there is no evidence at all.
pub fn guess(question: Question, seen: &[Seen], office: impl Fn(&str) -> Option<String>) -> Option<Guess> {
    let offices: Vec<String> = super::town::OFFICES.iter().filter_map(|(name, _)| office(name)).collect();
    match question {
        Question::Patient => writers(seen, &office("practice-winter")?, &offices),
        Question::Client => writers(seen, &office("law-office-roth")?, &offices),
        Question::Lovers => pair(seen, &offices),
    }
}

/// Who wrote most to an office, and was written to by it.
fn writers(seen: &[Seen], office: &str, offices: &[String]) -> Option<Guess> {
    let mut scores: BTreeMap<Vec<String>, f64> = BTreeMap::new();
    for (index, envelope) in seen.iter().enumerate() {
        if envelope.to == office {
            for (who, likely) in senders(seen, index) {
                if !offices.contains(&who) {
                    *scores.entry(vec![who]).or_default() += likely;
                }
            }
        } else if envelope.from.as_deref() == Some(office) && !offices.contains(&envelope.to) {
            *scores.entry(vec![envelope.to.clone()]).or_default() += 1.0;
        }
    }
    best(scores)
}

/// Which two people, no office among them, wrote to each other at night.
fn pair(seen: &[Seen], offices: &[String]) -> Option<Guess> {
    let mut scores: BTreeMap<Vec<String>, f64> = BTreeMap::new();
    for (index, envelope) in seen.iter().enumerate() {
        let minute = envelope.at as u32;
        if (NIGHT.0..NIGHT.1).contains(&minute) || offices.contains(&envelope.to) {
            continue;
        }
        for (who, likely) in senders(seen, index) {
            if !offices.contains(&who) {
                let mut two = vec![who, envelope.to.clone()];
                two.sort();
                *scores.entry(two).or_default() += likely;
            }
        }
    }
    best(scores)
}

/// Who may have sent an envelope, with how likely that is; in sum at most 1.
fn senders(seen: &[Seen], index: usize) -> Vec<(String, f64)> {
    let envelope = &seen[index];
    if let Some(from) = &envelope.from {
        return vec![(from.clone(), 1.0)];
    }
    let mut weights: BTreeMap<&str, f64> = BTreeMap::new();
    for (other, near) in seen.iter().enumerate() {
        let apart = (near.at - envelope.at).abs();
        if other != index && near.to != envelope.to && apart <= NEAR {
            *weights.entry(&near.to).or_default() += 1.0 / (1.0 + apart);
        }
    }
    let sum: f64 = weights.values().sum();
    weights.into_iter().map(|(who, weight)| (who.to_owned(), weight / sum)).collect()
}

fn best(scores: BTreeMap<Vec<String>, f64>) -> Option<Guess> {
    let sum: f64 = scores.values().sum();
    let (accounts, score) = scores.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Guess { accounts, certainty: score / sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(at: f64, from: Option<&str>, to: &str) -> Seen {
        Seen { at, from: from.map(str::to_owned), to: to.to_owned(), size: 700, ip: None }
    }

    fn named(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn a_named_sender_is_certain() {
        let seen = [
            envelope(470.0, Some("anna"), "practice-winter"),
            envelope(478.0, Some("practice-winter"), "anna"),
            envelope(600.0, Some("emil"), "frieda"),
        ];
        let guess = guess(Question::Patient, &seen, named).unwrap();
        assert_eq!((guess.accounts, guess.certainty), (vec!["anna".to_owned()], 1.0));
    }

    #[test]
    fn without_names_those_who_are_answered_soon_are_likelier() {
        let seen = [
            envelope(470.0, None, "practice-winter"),
            envelope(470.5, None, "anna"),
            envelope(482.0, None, "emil"),
            envelope(700.0, None, "ben"),
        ];
        let guess = guess(Question::Patient, &seen, named).unwrap();
        assert_eq!(guess.accounts, ["anna"]);
        assert!(guess.certainty > 0.5 && guess.certainty < 1.0, "{}", guess.certainty);
    }

    #[test]
    fn nights_tell_of_two() {
        let seen = [
            envelope(12.0, Some("emil"), "frieda"),
            envelope(14.0, Some("frieda"), "emil"),
            envelope(900.0, Some("ben"), "dora"),
        ];
        assert_eq!(guess(Question::Lovers, &seen, named).unwrap().accounts, ["emil", "frieda"]);
        assert!(guess(Question::Client, &seen, named).is_none());
    }
}
