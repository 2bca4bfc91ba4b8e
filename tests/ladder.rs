//! At every level of the disclosure ladder: everything that a person could tell carries a marker of its own, and then every
//! place where the relay could keep it is searched. A marker stands where the registry of stored fields says, and nowhere
//! else.
//!
//! A level is a policy of the client and of the operator: at L0 the relay records what it learns (`--observe`), above it
//! does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use kuvert_client::{Client, Options};
use kuvert_privacy::registry::field::Section;
use kuvert_privacy::registry::{self, Level, Place};
use support::photos::{drawing, photo};
use support::{Home, Relay, contains, eventually, find, kuvert_with, memory};

/// Something that is told, and the fields of the registry that it ends up in.
struct Marker {
    what: &'static str,
    text: String,
    fields: &'static [(Place, &'static str, &'static str)],
}

impl Marker {
    /// Whether the registry says that it stands there, at that level.
    fn belongs(&self, place: Place, level: Level) -> bool {
        self.entries().any(|field| field.place == place && field.levels.contains(&level))
    }

    /// Whether nothing that the relay has at that level may hold it, not even its memory.
    fn is_unheard_of(&self, level: Level) -> bool {
        !self.entries().any(|field| field.levels.contains(&level))
    }

    /// As the account's report writes it: a picture in base64.
    fn reported(&self) -> Vec<u8> {
        match self.what {
            "picture" => BASE64.encode(self.text.as_bytes()).into_bytes(),
            _ => self.text.clone().into_bytes(),
        }
    }

    /// Whether the account's report tells it, at that level.
    fn is_reported(&self, level: Level) -> bool {
        let kept = |place| place != Place::Observations || level == Level::L0;
        self.entries().any(|f| f.report != Section::None && f.levels.contains(&level) && kept(f.place))
    }

    fn entries(&self) -> impl Iterator<Item = &'static registry::Field> {
        self.fields.iter().map(|(place, table, column)| {
            registry::find(*place, table, column).unwrap_or_else(|| panic!("no entry for {table}.{column}"))
        })
    }
}

fn markers(level: Level) -> Vec<Marker> {
    use Place::{Database, Observations, People};
    let n = Level::ALL.iter().position(|known| *known == level).unwrap();
    let marker = |what, text: String, fields| Marker { what, text, fields };
    vec![
        marker(
            "user name",
            format!("canary-name-{n}-7c1e"),
            &[(Database, "account", "name"), (Observations, "event", "name")],
        ),
        marker(
            "number at registration",
            format!("+49155{n}0420071"),
            &[(Database, "account", "phone"), (Observations, "event", "phone")],
        ),
        marker(
            "verified number",
            format!("+49155{n}0420072"),
            &[(People, "phone", "number"), (Observations, "event", "phone")],
        ),
        marker("display name", format!("Canary Display {n} 92ab"), &[(People, "profile", "display_name")]),
        marker("e-mail", format!("canary-{n}-5d11@example.org"), &[(People, "profile", "email")]),
        marker("about text", format!("canary about {n} e0f3"), &[(People, "profile", "about")]),
        marker("number of a third person", format!("+49155{n}0420073"), &[(People, "address_book", "phone")]),
        marker("name of a third person", format!("Canary Third {n} 1bb7"), &[(People, "address_book", "name")]),
        marker("birthday of a third person", format!("19{n}1-02-03"), &[(People, "address_book", "birthday")]),
        marker("address of a third person", format!("Canary Street {n} 44d0"), &[(People, "address_book", "address")]),
        marker("picture", format!("canary picture {n} 0d5e"), &[(People, "profile", "picture")]),
        marker("device's language", format!("canary_{n}_83fa.UTF-8"), &[(People, "device_details", "language")]),
        marker("simulated battery", "simulated: 82 %".to_owned(), &[(People, "simulated_detail", "value")]),
        marker("text", format!("canary text {n} aa31"), &[]),
        // Of files the relay keeps size, times and who uploaded them: nothing that a person wrote or saw.
        marker("content of a file", format!("canary content {n} 3c9e"), &[]),
        marker("name of a file", format!("canary-file-{n}-77d1.txt"), &[]),
        marker("place in a photo", format!("canary place {n} 18b4"), &[]),
        marker("alias", format!("canary alias {n} 66f2"), &[]),
    ]
}

fn text<'a>(markers: &'a [Marker], what: &str) -> &'a str {
    &markers.iter().find(|marker| marker.what == what).unwrap().text
}

/// A document, a photo that tells where it was taken, and a picture of which a thumbnail goes along.
fn files_to_send(folder: &Path, markers: &[Marker], seed: u8) -> [String; 3] {
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let content = text(markers, "content of a file").repeat(3_000);
    [
        write(text(markers, "name of a file"), content.as_bytes()),
        write("photo.jpg", &photo(text(markers, "place in a photo").as_bytes())),
        write("drawing.png", &drawing(seed)),
    ]
}

/// What is seen of the picture that a home sent, from the middle of the small copy: all begin alike.
fn thumbnail(home: &Home, to: &str) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thumbnail = runtime.block_on(async {
        let client = Client::open(&home.path(), Options::default()).await.unwrap();
        let contact = client.contacts().find(to).await.unwrap();
        let messages = client.history(&contact, None).await.unwrap();
        messages.into_iter().flat_map(|message| message.attachments).find_map(|file| file.thumbnail).unwrap()
    });
    assert!(thumbnail.starts_with(&[0xFF, 0xD8]) && thumbnail.len() > 800, "a JPEG: {} bytes", thumbnail.len());
    let from = thumbnail.len() * 3 / 4;
    thumbnail[from..from + 48].to_vec()
}

/// The relay's files of files, and what each is encrypted under: what must be gone when they are.
fn pieces_of_files(relay: &Relay) -> Vec<Vec<u8>> {
    let database = rusqlite::Connection::open(relay.data().join(Place::Blobs.words())).unwrap();
    let mut statement = database.prepare("SELECT key FROM blob_key WHERE key <> zeroblob(32)").unwrap();
    let keys: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let blobs = relay.files().into_iter().filter(|(path, _)| is_of_files(path)).map(|(_, bytes)| bytes);
    let parts =
        blobs.flat_map(|bytes| [0, bytes.len() / 2, bytes.len() - 64].map(|from| bytes[from..from + 64].to_vec()));
    let pieces: Vec<Vec<u8>> = parts.chain(keys).collect();
    assert!(pieces.iter().all(|piece| relay.holds(piece)), "the search finds what is there");
    pieces
}

/// Whether a file of the data directory holds what was uploaded.
fn is_of_files(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "blobs")
}

/// Whether nothing of these files is left.
fn is_gone(relay: &Relay, pieces: &[Vec<u8>]) -> bool {
    let files = relay.files();
    !pieces.iter().any(|piece| files.iter().any(|(_, bytes)| contains(bytes, piece)))
}

/// Where a file of the data directory belongs.
fn place(path: &Path) -> Option<Place> {
    let name = path.file_name()?.to_str()?;
    [Place::Database, Place::People, Place::Observations, Place::Blobs]
        .into_iter()
        .find(|place| name.starts_with(place.words()))
}

/// The last code in the relay's log.
fn code(relay: &Relay) -> String {
    let log = relay.log();
    let after = log.rsplit("phone_code=").next().unwrap().to_owned();
    after.chars().filter(|c| *c != '"').take_while(char::is_ascii_digit).collect()
}

/// Tells the relay all that the level lets a client tell, and sees the rest refused.
fn tell(relay: &Relay, home: &Home, markers: &[Marker], level: Level) {
    let m = |what| text(markers, what);
    let mut register = vec!["--level", level.words(), "register", "--relay", &relay.address, "--name", m("user name")];
    if level == Level::L0 {
        register.extend(["--phone", m("number at registration")]);
    }
    // The machine is told at registration, and with every change of what its simulated phone allows.
    let speaking = |arguments: &[&str]| {
        let output = home.command(arguments).env("LC_ALL", m("device's language")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    speaking(&register);
    let book = home.path().join("people.csv");
    let third = |part: &str| text(markers, &format!("{part} of a third person"));
    let [number, name, birthday, address] = ["number", "name", "birthday", "address"].map(third);
    fs::write(&book, format!("phone,name,birthday,address\n{number},{name},{birthday},{address}\n")).unwrap();
    let picture = home.path().join("picture");
    fs::write(&picture, m("picture")).unwrap();
    let commands: [&[&str]; 3] = [
        &["account", "phone", m("verified number")],
        &["account", "upload", "--address-book", book.to_str().unwrap()],
        &[
            "account",
            "profile",
            "--display-name",
            m("display name"),
            "--email",
            m("e-mail"),
            "--about",
            m("about text"),
            "--picture",
            picture.to_str().unwrap(),
        ],
    ];
    for command in commands {
        match level {
            Level::L0 => drop(home.ok(command)),
            _ => drop(home.run(command).fails_with("level-too-high")),
        }
    }
    let grant = ["account", "permissions", "--grant", "battery"];
    if level == Level::L0 {
        home.ok(&["account", "verify", &code(relay)]);
        speaking(&grant);
    } else {
        home.run(&grant).fails_with("level-too-high");
    }
}

/// What the relay's metrics say.
fn metrics(address: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(contains(&answer, b"kuvert_"), "these are the metrics");
    answer
}

/// What the lens's page shows at a level.
fn page(relay: &Relay, level: Level) -> Vec<u8> {
    let mut command = Command::new(kuvert_with("lens"));
    command.args(["lens", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(relay.data());
    let mut lens = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(lens.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = serde_json::from_str::<serde_json::Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
    let (host, token) = url.trim_start_matches("http://").split_once("/?token=").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!("GET /{token}/api/view?level={level} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    lens.kill().unwrap();
    lens.wait().unwrap();
    assert!(contains(&answer, b"\"people\""), "this is the view");
    answer
}

fn scan(level: Level) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("relay.toml");
    // A port that was free a moment ago.
    let monitoring = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(&config, format!("[monitoring]\nlisten = \"{monitoring}\"\n[limits]\nblob_disk_percent = 100\n"))
        .unwrap();
    let mut arguments = vec!["-vv", "--config", config.to_str().unwrap()];
    let mut relay = if level == Level::L0 {
        arguments.push("--observe");
        Relay::start_lens(&arguments)
    } else {
        Relay::start_with(&arguments)
    };
    let markers = markers(level);
    let (alice, bob) = (Home::empty(), Home::empty());
    tell(&relay, &alice, &markers, level);
    bob.ok(&["--level", level.words(), "register", "--relay", &relay.address, "--name", "bob"]);
    alice.ok(&["contact", "add", "bob", "--as", text(&markers, "alias")]);
    bob.ok(&["contact", "add", text(&markers, "user name"), "--as", "alice"]);
    // Both hear of each other; at L2 and L3 with what lets them write without a name.
    alice.ok(&["send", text(&markers, "alias"), "hello"]);
    bob.receive();
    bob.ok(&["send", "alice", "hello"]);
    alice.receive();
    // These wait while everything is searched.
    let seed = u8::try_from(Level::ALL.iter().position(|known| *known == level).unwrap()).unwrap();
    let [document, photo, drawing] = files_to_send(folder.path(), &markers, seed);
    let send_files = ["send", text(&markers, "alias"), "look", "--file", &document, &photo, &drawing];
    alice.ok(&send_files);
    let seen = thumbnail(&alice, text(&markers, "alias"));
    let waiting = pieces_of_files(&relay);
    assert_eq!(waiting.len(), 3 * 3 + 3, "three files in one piece each, under three keys");
    alice.ok(&["send", text(&markers, "alias"), text(&markers, "text")]);

    let absent = |marker: &Marker, where_: &str, bytes: &[u8]| {
        assert!(!contains(bytes, marker.text.as_bytes()), "{level}: the {} stands in {where_}", marker.what);
    };
    let (metrics, log, page) = (metrics(monitoring), relay.log(), page(&relay, level));
    let no_thumbnail = |where_: &str, bytes: &[u8]| {
        assert!(!contains(bytes, &seen), "{level}: the thumbnail stands in {where_}");
    };
    for (where_, bytes) in [("the metrics", &metrics[..]), ("the log", log.as_bytes()), ("the page", &page[..])] {
        no_thumbnail(where_, bytes);
    }
    for marker in &markers {
        absent(marker, "the metrics", &metrics);
        absent(marker, "the log", log.as_bytes());
        if marker.fields.is_empty() {
            absent(marker, "the page", &page);
        }
    }
    assert!(contains(&page, text(&markers, "user name").as_bytes()), "{level}: the page shows the name");

    absent(markers.iter().find(|marker| marker.what == "picture").unwrap(), "the page", &page);
    // What the registry gives to no place at this level is not even in its memory.
    let unheard: Vec<&Marker> = markers.iter().filter(|marker| marker.is_unheard_of(level)).collect();
    let mut control = false;
    memory(relay.pid(), |place, bytes| {
        unheard.iter().for_each(|marker| absent(marker, &format!("its memory: {place}"), bytes));
        no_thumbnail(&format!("its memory: {place}"), bytes);
        control |= contains(bytes, relay.data().as_os_str().as_encoded_bytes());
    });
    assert!(control, "the search of its memory finds what is there");

    // A relay that has stopped has written everything down.
    relay.stop();
    let files = relay.files();
    for (path, bytes) in &files {
        no_thumbnail(&path.display().to_string(), bytes);
    }
    for place_ in [Place::Database, Place::People, Place::Observations, Place::Blobs] {
        let bytes: Vec<u8> =
            files.iter().filter(|(path, _)| place(path) == Some(place_)).flat_map(|(_, bytes)| bytes.clone()).collect();
        let written = place_ != Place::Observations || level == Level::L0;
        for marker in &markers {
            let found = contains(&bytes, marker.text.as_bytes());
            let expected = written && marker.belongs(place_, level);
            assert_eq!(found, expected, "{level}: the {} in {place_}", marker.what);
        }
    }
    for (path, bytes) in files.iter().filter(|(path, _)| place(path).is_none()) {
        for marker in &markers {
            absent(marker, &path.display().to_string(), bytes);
        }
    }

    // The envelope that waits names its sender where the registry says so, and only there.
    let source = registry::find(Place::Database, "envelope", "source").unwrap();
    let database = rusqlite::Connection::open(relay.data().join("relay.db")).unwrap();
    let count = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let (all, named) = (count("SELECT count(*) FROM envelope"), count("SELECT count(source) FROM envelope"));
    assert!(all > 0, "something waits");
    assert_eq!(named, if source.levels.contains(&level) { all } else { 0 }, "{level}: of {all} envelopes");
    drop(database);

    // The account's own report tells what the registry says, and is itself kept until its time is over.
    relay.start_again(&arguments[1..]);
    let folder = folder.path().join("report");
    alice.ok(&["account", "report", "--out", folder.to_str().unwrap()]);
    let report: Vec<u8> =
        fs::read_dir(&folder).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(registry::find(Place::People, "report_request", "report").is_some());
    let kept = fs::read(relay.data().join(Place::People.words())).unwrap();
    for marker in &markers {
        let reported = marker.is_reported(level);
        assert_eq!(contains(&report, &marker.reported()), reported, "{level}: the {} in the report", marker.what);
        let stands = reported || marker.belongs(Place::People, level);
        assert_eq!(contains(&kept, marker.text.as_bytes()), stands, "{level}: the {} in people.db", marker.what);
    }
    no_thumbnail("the report", &report);
    assert_eq!(bob.receive(), ["look", text(&markers, "text")]);
    // Up to L1 each reader says when it has a file, and the last one ends it. From L2 on it waits until its time is over.
    assert_eq!(is_gone(&relay, &waiting), level <= Level::L1, "{level}: after its last reader");
    alice.ok(&send_files);
    let unread = pieces_of_files(&relay);
    relay.stop();
    let later = (31 * 24 * 60 * 60).to_string();
    relay.start_again(&[&arguments[1..], &["--clock-offset", &later, "--trust-clock"]].concat());
    eventually("files that nobody fetched are erased", || is_gone(&relay, &unread) && is_gone(&relay, &waiting));
    assert!(!relay.files().iter().any(|(path, _)| is_of_files(path)), "{level}: no file is left");
    assert_eq!(find(&alice.ok(&["disclosure"]), "disclosure")["level"], level.words());
}

#[test]
fn at_l0_everything_that_is_told_stands_where_the_registry_says() {
    scan(Level::L0);
}

#[test]
fn at_l1_nothing_is_uploaded() {
    scan(Level::L1);
}

#[test]
fn at_l2_no_envelope_names_its_sender() {
    scan(Level::L2);
}

#[test]
fn at_l3_neither() {
    scan(Level::L3);
}
