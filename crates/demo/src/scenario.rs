//! The story. Every scene does something with real processes, looks at the relay's files, and shows what it found.

use std::path::Path;
use std::time::{Duration, Instant};

use kuvert_cli::error::Failure;
use kuvert_cli::output::time::Zone;
use kuvert_lens_page::view::place;
use kuvert_relay_lens::observe::Observed;
use serde_json::Value;

use crate::described;
use crate::facts::{self, Facts, grouped};
use crate::lens::Lens;
use crate::process::{self, Client, Relay};
use crate::relay_files::{RelayFiles, WaitingEnvelope};
use crate::scene::{Item, Row, Scene};
use crate::search::Snapshot;
use crate::stage::Stage;

/// What Alice calls Bob: known to her client alone.
const ALIAS_OF_BOB: &str = "Bob from the choir";

/// What Bob calls Alice.
const ALIAS_OF_ALICE: &str = "Cousin Alice";

const LETTER: &str = "Dear Bob, the key is under the third flowerpot. Please water the tomatoes. Alice";

const ANSWER: &str = "Will do! Your cat sits on the roof and says hello.";

const ALICE_WRITES: [&str; 6] = [
    "1. One more thing about the tomatoes:",
    "2. not in the midday sun,",
    "3. and the small ones get less.",
    "4. The cat comes down by herself.",
    "5. Help yourself to the strawberries!",
    "6. Back on Sunday, train at 17:42.",
];

const BOB_WRITES: [&str; 6] = [
    "1. Found the key.",
    "2. One pot was broken already, honestly.",
    "3. The cat has brought a mouse.",
    "4. I have let it go.",
    "5. The mouse, not the cat.",
    "6. See you on Sunday!",
];

/// The relay's files are searched again until they are clean, for this long at most.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);

/// Between two of these searches.
const SEARCH_AGAIN: Duration = Duration::from_millis(40);

/// How long the relay's observations may lag behind its answers.
const OBSERVED_WITHIN: Duration = Duration::from_secs(60);

/// Rounds of fetching until no receipt is on its way any more. Receipts are not acknowledged by receipts, so that two
/// would do.
const LAST_ROUNDS: usize = 4;

/// Plays all scenes and returns what was found out. With `watch` a page shows meanwhile what the relay sees; it is served
/// until it is dropped.
pub async fn play(directory: &Path, stage: &mut Stage, watch: bool) -> Result<(Facts, Option<Lens>), Failure> {
    let begun = Instant::now();
    let data = directory.join("relay");
    let relay = Relay::start(&data, 0, watch).await?;
    let lens = if watch { Some(Lens::open(&data, directory, ["Alice", "Bob"]).await?) } else { None };
    if let Some(lens) = &lens {
        stage.lens(&lens.url)?;
    }
    let mut play = Play {
        relay,
        lens,
        files: RelayFiles::new(&data),
        alice: Client::new("Alice", directory, place::DEMO[0]),
        bob: Client::new("Bob", directory, place::DEMO[1]),
        directory: directory.to_owned(),
        texts: Vec::new(),
        text_ids: Vec::new(),
        shown: Vec::new(),
        envelopes: Vec::new(),
        before: Snapshot::default(),
        facts: Facts::default(),
        zone: Zone::system(),
    };
    play.registration(stage).await?;
    if watch {
        described::tell(&data, directory, &play.alice, &play.bob).await?;
    }
    play.letter(stage).await?;
    play.on_lens().await?;
    play.delivery(stage).await?;
    play.on_lens().await?;
    play.answer(stage).await?;
    play.on_lens().await?;
    let mut play = play.conversation(stage).await?;
    play.on_lens().await?;
    let lens = play.lens.take();
    let mut facts = play.numbers(stage).await?;
    facts.milliseconds = begun.elapsed().as_millis();
    stage.pause().await?;
    Ok((facts, lens))
}

struct Play {
    relay: Relay,
    lens: Option<Lens>,
    files: RelayFiles,
    alice: Client,
    bob: Client,
    directory: std::path::PathBuf,
    /// Every text that was sent.
    texts: Vec<&'static str>,
    /// The ids under which the relay accepted them.
    text_ids: Vec<String>,
    /// Every text that was shown.
    shown: Vec<String>,
    /// Every envelope that was seen waiting.
    envelopes: Vec<WaitingEnvelope>,
    /// The relay's files before the first letter.
    before: Snapshot,
    facts: Facts,
    zone: Zone,
}

impl Play {
    async fn registration(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let address = self.relay.address.clone();
        let alice = self.alice.run(&["register", "--relay", &address, "--name", "alice"], "").await?;
        let bob = self.bob.run(&["register", "--relay", &address, "--name", "bob"], "").await?;
        let link = text_of(&self.bob.run(&["invite"], "").await?, "invite", "link")?;
        let added = self.alice.run(&["contact", "add", &link, "--as", ALIAS_OF_BOB], "").await?;
        let known = self.bob.run(&["contact", "add", "alice", "--as", ALIAS_OF_ALICE], "").await?;
        let verified = |contact: &[Value]| find(contact, "contact").is_some_and(|contact| contact["verified"] == true);
        let inspected = process::inspect(self.files.directory()).await?;
        let holds = find(&inspected, "relay").ok_or_else(|| failed("the relay cannot be inspected"))?;
        let names = self.files.names()?;
        let looked_up = self
            .observed("two look-ups", |observations| {
                let seen = observations.iter().filter(|seen| seen.kind == "looked_up");
                let words = seen.map(|seen| {
                    format!("{} looked up {}", facts::name(&seen.device, &names), facts::name(&seen.other, &names))
                });
                Some(words.collect::<Vec<_>>()).filter(|words| words.len() >= 2)
            })
            .await?;
        let short = |text: &str| format!("{}…", text.chars().take(8).collect::<String>());
        let account =
            |registered: &[Value]| text_of(registered, "registered", "account").map(|account| short(&account));
        let registered = |who: &str, account: String| {
            vec![
                Item::command(format!("kuvert register --name {who}")),
                Item::plain(format!("account {account}")),
                Item::faint("Keys are made here and never leave; the relay gets their public halves."),
            ]
        };
        let trust = |verified: bool| {
            Item::plain(if verified {
                "key known from the link: verified"
            } else {
                "trusted on first use, not verified"
            })
        };
        stage
            .show(&Scene {
                title: "Two people and a relay".into(),
                words: "Three processes on this machine, each with a directory of its own; between them QUIC.".into(),
                rows: vec![
                    Row {
                        alice: registered("alice", account(&alice)?),
                        relay: vec![
                            Item::command(format!("kuvert-relay-lens serve   (process {})", self.relay.pid)),
                            Item::Fact("accounts", format!("{}: {}", holds["accounts"], self.names()?.join(", "))),
                            Item::Fact("prekeys", format!("{} public one-time keys", holds["one_time_prekeys"])),
                            Item::Fact("letters", holds["waiting"].to_string()),
                        ],
                        bob: registered("bob", account(&bob)?),
                    },
                    Row {
                        alice: vec![
                            Item::command("kuvert contact add kuvert://…"),
                            Item::plain(format!("adds “{ALIAS_OF_BOB}”")),
                            trust(verified(&added)),
                        ],
                        relay: looked_up.into_iter().map(Item::seen).collect(),
                        bob: vec![
                            Item::command("kuvert invite"),
                            Item::plain(format!("a link with the key's fingerprint; adds alice as “{ALIAS_OF_ALICE}”")),
                            trust(verified(&known)),
                            Item::faint("Had he not added her, her letter would be a request: no receipt, no answer."),
                        ],
                    },
                ],
            })
            .await
    }

    async fn letter(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        self.before = self.snapshot()?;
        let sent = self.alice.run(&["send", ALIAS_OF_BOB, LETTER], "").await?;
        self.sent(&sent, &[LETTER])?;
        let waiting = self.look()?;
        let id = self.text_ids.last().cloned().unwrap_or_default();
        let envelope = waiting.into_iter().find(|waiting| waiting.id == id).ok_or_else(|| failed("no letter waits"))?;
        let snapshot = self.snapshot()?;
        let found = self.search(&snapshot);
        let ciphertext = std::slice::from_ref(&envelope.ciphertext);
        self.facts.bytes_while_waiting = snapshot.left_of(ciphertext);
        self.facts.bytes_known_before = self.before.left_of(ciphertext);
        let from = self.observed("where the letter came from", |seen| sent_from(seen, &envelope.id)).await?;
        let inspected = process::inspect(self.files.directory()).await?;
        let keep_until = inspected
            .iter()
            .find(|object| object["type"] == "waiting" && object["id"] == envelope.id.as_str())
            .and_then(|waiting| waiting["expires_at"].as_u64())
            .ok_or_else(|| failed("the relay does not say when the letter expires"))?;
        stage
            .show(&Scene {
                title: "Bob is away. Alice writes.".into(),
                words: "The relay answers “accepted” once the envelope is on its disk. This is the row as it stands in its \
                        database, and everything that the relay knows about it."
                    .into(),
                rows: vec![Row {
                    alice: vec![
                        Item::command("kuvert send Bob …"),
                        Item::letter(LETTER),
                        Item::good("✓ accepted by the relay"),
                    ],
                    relay: vec![
                        Item::Fact("for", envelope.recipient.clone()),
                        Item::Fact("from", envelope.sender.clone().unwrap_or_else(|| "not told".to_owned())),
                        Item::Fact("at", self.zone.time_of_day_exact(envelope.accepted_at)),
                        Item::Fact("sent from", from),
                        Item::Fact("size", format!("{} bytes (padded)", grouped(envelope.ciphertext.len()))),
                        Item::Fact("until", format!("{} at most", self.zone.date_and_time(keep_until))),
                        Item::Fact("content", "?".to_owned()),
                        Item::Gap,
                        Item::Bytes(envelope.ciphertext.clone(), 8),
                        Item::Gap,
                        Item::check(found == 0, format!("the text stands {} in the relay's files", never(found))),
                    ],
                    bob: vec![Item::faint("(away)")],
                }],
            })
            .await
    }

    async fn delivery(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let letters: Vec<Vec<u8>> = self.envelopes.iter().map(|envelope| envelope.ciphertext.clone()).collect();
        let size: usize = letters.iter().map(Vec::len).sum();
        let received = self.bob.run(&["receive"], "").await?;
        let shown = self.shown(&received);
        let (left, gone_after) = self.gone(&letters).await?;
        let waiting = self.look()?;
        let still_there = waiting.iter().any(|waiting| self.text_ids.contains(&waiting.id));
        let letter = self.text_ids.last().cloned().unwrap_or_default();
        let fetched_at = self
            .observed("who fetched the letter", |observations| {
                let delivered = |seen: &&Observed| seen.kind == "delivered" && seen.envelope.as_ref() == Some(&letter);
                observations.iter().find(delivered).map(|delivered| delivered.at)
            })
            .await?;
        let for_alice = waiting.iter().filter(|waiting| waiting.recipient == "alice").count();
        stage
            .show(&Scene {
                title: "Bob comes online, reads, acknowledges.".into(),
                words: "Delivered is deleted: the row goes at once, and its bytes are overwritten in the database and gone \
                        from its log."
                    .into(),
                rows: vec![Row {
                    alice: vec![Item::faint("(away)")],
                    relay: vec![
                        Item::check(!still_there, "the row is gone"),
                        Item::check(
                            left == 0,
                            format!("{left} of {} bytes are left in its files, {gone_after} ms after", grouped(size)),
                        ),
                        Item::faint(format!(
                            "Not counted: {} bytes of Alice's certificate, public and known since she registered.",
                            self.facts.bytes_known_before
                        )),
                        Item::Gap,
                        Item::seen(format!(
                            "bob was online at {} and fetched alice's envelope",
                            self.zone.time_of_day_exact(fetched_at)
                        )),
                        Item::Fact("for alice", format!("{for_alice} sealed envelope")),
                        Item::faint("A receipt, but that only Alice and Bob know."),
                    ],
                    bob: [Item::command("kuvert receive")]
                        .into_iter()
                        .chain(shown.iter().map(|text| Item::letter(text)))
                        .chain([Item::check(shown == [LETTER], "decrypted, stored, acknowledged")])
                        .collect(),
                }],
            })
            .await
    }

    async fn answer(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let sent = self.bob.run(&["send", ALIAS_OF_ALICE, ANSWER], "").await?;
        self.sent(&sent, &[ANSWER])?;
        let waiting = self.look()?;
        let snapshot = self.snapshot()?;
        let found = self.search(&snapshot);
        let received = self.alice.run(&["receive"], "").await?;
        let shown = self.shown(&received);
        let read = received.iter().any(|object| object["type"] == "receipt" && object["kind"] == "read");
        let answer = waiting.iter().find(|waiting| self.text_ids.contains(&waiting.id));
        let deleted = !self.look()?.iter().any(|waiting| self.text_ids.contains(&waiting.id));
        stage
            .show(&Scene {
                title: "Bob answers.".into(),
                words: "Receipts are sealed like everything else: that Bob has read the letter, Alice learns from Bob."
                    .into(),
                rows: vec![
                    Row {
                        relay: answer
                            .map(|answer| {
                                vec![
                                    Item::Fact("for", answer.recipient.clone()),
                                    Item::Fact("from", answer.sender.clone().unwrap_or_default()),
                                    Item::Fact("size", format!("{} bytes (padded)", grouped(answer.ciphertext.len()))),
                                    Item::Bytes(answer.ciphertext.clone(), 3),
                                    Item::check(found == 0, format!("both texts: found {}", never(found))),
                                ]
                            })
                            .unwrap_or_default(),
                        bob: vec![Item::command("kuvert send Alice …"), Item::letter(ANSWER), Item::good("✓ accepted")],
                        ..Row::default()
                    },
                    Row {
                        alice: [Item::command("kuvert receive"), Item::check(read, "Bob has read the letter")]
                            .into_iter()
                            .chain(shown.iter().map(|text| Item::letter(text)))
                            .collect(),
                        relay: vec![Item::check(deleted, "delivered and deleted")],
                        ..Row::default()
                    },
                ],
            })
            .await
    }

    /// Both write while the other is away; then the envelopes change places.
    async fn conversation(mut self, stage: &mut Stage) -> Result<Self, Failure> {
        let (to_bob, to_alice) = (ALICE_WRITES.join("\n"), BOB_WRITES.join("\n"));
        let sent = self.alice.run(&["send", ALIAS_OF_BOB, "--lines"], &to_bob).await?;
        self.sent(&sent, &ALICE_WRITES)?;
        let sent = self.bob.run(&["send", ALIAS_OF_ALICE, "--lines"], &to_alice).await?;
        self.sent(&sent, &BOB_WRITES)?;
        let waiting = self.look()?;
        let sizes = waiting.iter().map(|waiting| waiting.ciphertext.len()).collect::<Vec<_>>();
        let snapshot = self.snapshot()?;
        let found = self.search(&snapshot);
        // The relay itself has no way to reorder mail: we do it in its file, as a malicious operator would.
        let port = self.relay.port();
        self.relay.stop().await?;
        self.files.shuffle(shuffled)?;
        self.relay = Relay::start(self.files.directory(), port, self.lens.is_some()).await?;
        let all_there = self.look()?.len() == waiting.len();
        let bob = self.bob.run(&["receive"], "").await?;
        let bob = self.shown(&bob);
        self.look()?;
        let alice = self.alice.run(&["receive"], "").await?;
        let alice = self.shown(&alice);
        let order = |shown: &[String], sent: &[&str]| {
            let mut latest = 0;
            let places = shown.iter().filter_map(|text| sent.iter().position(|sent| sent == text));
            places
                .filter(|place| {
                    let late = *place < latest;
                    latest = latest.max(*place);
                    late
                })
                .count()
        };
        let late = order(&bob, &ALICE_WRITES) + order(&alice, &BOB_WRITES);
        self.facts.out_of_order += late;
        let all = bob.len() + alice.len() == ALICE_WRITES.len() + BOB_WRITES.len();
        let writes = |texts: &[&str]| {
            let head = Item::command("kuvert send … --lines");
            [head].into_iter().chain(texts.iter().map(|text| Item::letter(text))).collect::<Vec<_>>()
        };
        let reads = |texts: &[String]| {
            let head = Item::command("kuvert receive");
            [head].into_iter().chain(texts.iter().map(|text| Item::letter(text))).collect::<Vec<_>>()
        };
        stage
            .show(&Scene {
                title: "A conversation, delivered out of order.".into(),
                words: "Both write while the other is away. Then this demo stops the relay, shuffles the waiting envelopes \
                        in its database, as a malicious operator could, and starts it again."
                    .into(),
                rows: vec![
                    Row {
                        alice: writes(&ALICE_WRITES),
                        relay: vec![
                            Item::Fact("waiting", format!("{} envelopes, {} bytes", sizes.len(), grouped(sizes.iter().sum()))),
                            Item::Fact("sizes", distinct(&sizes)),
                            Item::check(found == 0, format!("the texts: found {}", never(found))),
                            Item::Gap,
                            Item::seen("stopped, shuffled, started again"),
                            Item::check(all_there, "all are still there"),
                        ],
                        bob: writes(&BOB_WRITES),
                    },
                    Row {
                        alice: reads(&alice),
                        relay: vec![
                            Item::check(all, format!("{} of {} opened, {late} of them late", bob.len() + alice.len(), ALICE_WRITES.len() + BOB_WRITES.len())),
                            Item::faint("Each message has a key of its own; keys of messages that are still on their way are kept for them."),
                        ],
                        bob: reads(&bob),
                    },
                ],
            })
            .await?;
        Ok(self)
    }

    /// The safety numbers, and the last look at everything.
    async fn numbers(mut self, stage: &mut Stage) -> Result<Facts, Failure> {
        let of_bob = self.alice.run(&["safety-number", ALIAS_OF_BOB], "").await?;
        let of_alice = self.bob.run(&["safety-number", ALIAS_OF_ALICE], "").await?;
        self.facts.safety_numbers =
            (text_of(&of_bob, "safety_number", "digits")?, text_of(&of_alice, "safety_number", "digits")?);
        let equal = self.facts.safety_numbers_equal();
        self.bob.run(&["contact", "verify", ALIAS_OF_ALICE], "").await?;
        self.drain().await?;
        for (client, alias) in [(&self.alice, ALIAS_OF_BOB), (&self.bob, ALIAS_OF_ALICE)] {
            let history = client.run(&["history", alias], "").await?;
            let read = |object: &&Value| object["direction"] == "out" && object["state"] == "read";
            self.facts.known_to_be_read += history.iter().filter(read).count();
        }
        let digits = |digits: &str| {
            let groups: Vec<String> =
                digits.as_bytes().chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
            groups.chunks(3).map(|row| Item::plain(row.join(" "))).collect::<Vec<_>>()
        };
        let ciphertexts: Vec<Vec<u8>> = self.envelopes.iter().map(|envelope| envelope.ciphertext.clone()).collect();
        let (left, gone_after) = self.gone(&ciphertexts).await?;
        self.facts.bytes_left = left;
        self.facts.gone_after_ms = self.facts.gone_after_ms.max(gone_after);
        stage
            .show(&Scene {
                title: "Is there somebody in between?".into(),
                words: "Both compute a number from both account keys. Read aloud or scanned, it shows that the keys are the \
                        right ones."
                    .into(),
                rows: vec![Row {
                    alice: digits(&self.facts.safety_numbers.0),
                    relay: vec![
                        Item::check(equal, "both numbers are equal"),
                        Item::plain("Bob says so: kuvert contact verify"),
                        Item::faint("Of all this the relay notices nothing."),
                    ],
                    bob: digits(&self.facts.safety_numbers.1),
                }],
            })
            .await?;
        self.last_search()?;
        let Self { relay, files, mut facts, zone, .. } = self;
        // Once the relay has ended, its observations are complete.
        relay.stop().await?;
        facts.relay_saw = facts::seen(&files.observations()?, &files.names()?, &zone);
        Ok(facts)
    }

    /// Brings the lens's two outer columns up to date, if there is a lens.
    async fn on_lens(&self) -> Result<(), Failure> {
        if let Some(lens) = &self.lens {
            lens.show(&self.alice, ALIAS_OF_BOB).await?;
            lens.show(&self.bob, ALIAS_OF_ALICE).await?;
        }
        Ok(())
    }

    /// Fetches on both sides until nothing waits.
    async fn drain(&mut self) -> Result<(), Failure> {
        for _ in 0..LAST_ROUNDS {
            if self.look()?.is_empty() {
                break;
            }
            for alice in [true, false] {
                let client = if alice { &self.alice } else { &self.bob };
                let received = client.run(&["receive"], "").await?;
                self.shown(&received);
                self.look()?;
            }
        }
        self.facts.waiting_at_end = self.look()?.len();
        Ok(())
    }

    /// Looks for everything that must not be there, and for something that must.
    fn last_search(&mut self) -> Result<(), Failure> {
        let snapshot = self.snapshot()?;
        self.search(&snapshot);
        self.facts.files = snapshot.files();
        self.facts.file_bytes = snapshot.bytes();
        self.facts.aliases_found = snapshot.count(ALIAS_OF_BOB) + snapshot.count(ALIAS_OF_ALICE);
        self.facts.numbers_found = snapshot.count(&self.facts.safety_numbers.0);
        self.facts.control_found = snapshot.count("alice");
        let mut keys = Vec::new();
        for client in [&self.alice, &self.bob] {
            let path = self.directory.join(client.name.to_lowercase()).join("store.key");
            keys.push(std::fs::read(&path).map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?);
        }
        self.facts.keys_found = snapshot.left_of(&keys);
        self.facts.sizes = self.envelopes.iter().map(|envelope| envelope.ciphertext.len()).collect();
        let (texts, receipts): (Vec<_>, Vec<_>) =
            self.envelopes.iter().partition(|envelope| self.text_ids.contains(&envelope.id));
        self.facts.receipts = receipts.len();
        self.facts.text_sizes = texts.iter().map(|envelope| envelope.ciphertext.len()).collect();
        self.facts.receipt_sizes = receipts.iter().map(|envelope| envelope.ciphertext.len()).collect();
        let mut distinct: Vec<&String> = self.shown.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        self.facts.read = distinct.iter().filter(|shown| self.texts.contains(&shown.as_str())).count();
        self.facts.repeated = self.shown.len() - distinct.len();
        self.facts.sent = self.text_ids.len();
        Ok(())
    }

    /// Notes what the relay accepted.
    fn sent(&mut self, objects: &[Value], texts: &[&'static str]) -> Result<(), Failure> {
        let accepted =
            objects.iter().filter(|object| object["type"] == "accepted").filter_map(|object| object["id"].as_str());
        let before = self.text_ids.len();
        self.text_ids.extend(accepted.map(ToOwned::to_owned));
        self.texts.extend(texts);
        if self.text_ids.len() - before == texts.len() { Ok(()) } else { Err(failed("not every text was accepted")) }
    }

    /// Notes what a client printed, and returns the texts.
    fn shown(&mut self, objects: &[Value]) -> Vec<String> {
        let messages = objects.iter().filter(|object| object["type"] == "message");
        let texts: Vec<String> = messages.filter_map(|object| object["text"].as_str()).map(ToOwned::to_owned).collect();
        self.shown.extend(texts.iter().cloned());
        texts
    }

    /// Reads what waits, and remembers every envelope that was ever seen.
    fn look(&mut self) -> Result<Vec<WaitingEnvelope>, Failure> {
        let waiting = self.files.waiting()?;
        for envelope in &waiting {
            if !self.envelopes.iter().any(|seen| seen.id == envelope.id) {
                self.envelopes.push(envelope.clone());
            }
        }
        Ok(waiting)
    }

    fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        self.facts.searches += 1;
        Snapshot::take(self.files.directory()).map_err(|error| Failure::io("read the relay's files", &error))
    }

    /// Searches for every text that was sent so far.
    fn search(&mut self, snapshot: &Snapshot) -> usize {
        let found = self.texts.iter().map(|text| snapshot.count(text)).sum();
        self.facts.texts_found += found;
        found
    }

    /// Searches for ciphertext until there is none: how much is left at the end, and how long it took.
    async fn gone(&mut self, ciphertexts: &[Vec<u8>]) -> Result<(usize, u128), Failure> {
        let begun = Instant::now();
        loop {
            let left = self.snapshot()?.left_beyond(&self.before, ciphertexts);
            if left == 0 || begun.elapsed() > CLEAN_WITHIN {
                return Ok((left, begun.elapsed().as_millis()));
            }
            tokio::time::sleep(SEARCH_AGAIN).await;
        }
    }

    /// Looks into the relay's own records until something is there: they are written a moment behind its answers.
    async fn observed<T>(&self, what: &str, find: impl Fn(&[Observed]) -> Option<T>) -> Result<T, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(found) = find(&self.files.observations()?) {
                return Ok(found);
            }
            if begun.elapsed() > OBSERVED_WITHIN {
                return Err(failed(&format!("the relay did not record {what}")));
            }
            tokio::time::sleep(SEARCH_AGAIN).await;
        }
    }

    fn names(&self) -> Result<Vec<String>, Failure> {
        Ok(self.files.names()?.into_values().collect())
    }
}

fn sent_from(observations: &[Observed], envelope: &str) -> Option<String> {
    let submitted =
        observations.iter().find(|seen| seen.kind == "submitted" && seen.envelope.as_deref() == Some(envelope))?;
    let connected =
        observations.iter().find(|seen| seen.kind == "connected" && seen.connection == submitted.connection)?;
    Some(format!("{}, port {}", connected.ip.as_deref()?, connected.port?))
}

/// Another order of that many places: first the odd ones from behind, then the even ones.
fn shuffled(count: usize) -> Vec<usize> {
    let odd = (0..count).rev().filter(|place| place % 2 == 1);
    odd.chain((0..count).filter(|place| place % 2 == 0)).collect()
}

fn distinct(sizes: &[usize]) -> String {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    let sizes: Vec<String> = sizes.into_iter().map(grouped).collect();
    format!("{} bytes", sizes.join(", "))
}

fn never(count: usize) -> String {
    match count {
        0 => "nowhere".to_owned(),
        count => format!("{count} times"),
    }
}

fn find<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["type"] == kind)
}

fn text_of(objects: &[Value], kind: &str, field: &str) -> Result<String, Failure> {
    let text = find(objects, kind).and_then(|object| object[field].as_str());
    text.map(ToOwned::to_owned).ok_or_else(|| failed(&format!("no {field} in the output of {kind}")))
}

fn failed(message: &str) -> Failure {
    Failure::new("demo-failed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_order_keeps_everything_and_is_another() {
        for count in 0..12 {
            let mut order = shuffled(count);
            assert!(count < 2 || order != (0..count).collect::<Vec<_>>());
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }
}
