//! The program `kuvert-relay-lens`: all of `kuvert-relay`, and the demonstration.

use std::path::Path;
use std::process::Output;

use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::{self, demonstration};
use serde_json::Value;

use crate::common::process::{Process, clean};
use crate::common::*;

async fn run(words: &[&str]) -> Output {
    within(clean(crate::PROGRAM).args(words).output()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn string(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The commands of a program, and the flags of its `serve`.
fn surface(command: clap::Command) -> (Vec<String>, Vec<String>) {
    let commands = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let serve = command.find_subcommand("serve").unwrap();
    (commands, serve.get_arguments().map(|argument| argument.get_id().to_string()).collect())
}

#[tokio::test]
async fn it_has_every_command_of_the_relay_and_those_of_the_demonstration() {
    let (common, common_flags) = surface(kuvert_relay_server::command());
    let (all, flags) = surface(kuvert_relay_lens::program::command());
    let more = |all: &[String], common: &[String]| -> Vec<String> {
        assert!(common.iter().all(|name| all.contains(name)), "{common:?} {all:?}");
        all.iter().filter(|name| !common.contains(name)).cloned().collect()
    };
    assert_eq!(more(&all, &common), ["share", "withdraw"]);
    assert_eq!(more(&flags, &common_flags), ["observe", "demonstration"]);

    let version = text(&run(&["--version"]).await.stdout);
    assert_eq!(version, format!("kuvert-relay-lens {}\n", env!("CARGO_PKG_VERSION")));
    let help = text(&run(&["--help"]).await.stdout);
    assert!(help.contains("Usage: kuvert-relay-lens") && help.contains("share") && help.contains("withdraw"), "{help}");
    let help = text(&run(&["serve", "--help"]).await.stdout);
    assert!(help.contains("--observe") && help.contains("--demonstration") && help.contains("--retention"), "{help}");
    for wrong in [&["serve", "--observed"][..], &["share"], &["share", "subpoena"], &["withdraw"], &["lend"]] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_printed_configuration_has_its_keys_and_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("relay.toml"), folder.path().join("data"));
    let printed = text(&run(&["config"]).await.stdout);
    assert_eq!(text(&run(&["config", "default"]).await.stdout), printed);
    let asking =
        printed.replace("observe = false", "observe = true").replace("demonstration = false", "demonstration = true");
    assert_eq!(asking.matches("= true").count(), printed.matches("= true").count() + 2);
    std::fs::write(&file, &asking).unwrap();
    assert!(run(&["config", "check", "--config", string(&file)]).await.status.success());
    let relay = Process::start(&data, &["--config", string(&file)]).await;
    let (code, log) = relay.stop("-TERM").await;
    assert!(code == Some(0) && log.contains("A demonstration with synthetic terms"), "{log}");
    assert!(data.join("observe.db").exists());
    let told = text(&run(&["--json", "inspect", "--data", string(&data)]).await.stdout);
    let rights =
        told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["type"] == "rights");
    assert_eq!(rights.unwrap()["demonstration"], true);
}

#[tokio::test]
async fn inspect_prints_what_was_told() {
    let data = tempfile::tempdir().unwrap();
    let relay = Process::start(data.path(), &[]).await;
    let alice = Device::named("alice");
    let mut client = Client::register(&relay.url, &alice).await;
    let profile =
        demonstration::SetProfile { about: Some("out for lunch".into()), ..demonstration::SetProfile::default() };
    client.ask(tell(profile)).await;
    let person = demonstration::Person {
        phone: "+4915550000009".into(),
        name: Some("Nina".into()),
        ..demonstration::Person::default()
    };
    client.ask(tell(demonstration::UploadAddressBook { people: vec![person], replace: true })).await;
    let printed = text(&run(&["inspect", "--data", string(data.path())]).await.stdout);
    for held in ["profiles          1", "about             out for lunch", "Nina: no account, never asked"] {
        assert!(printed.contains(held), "{held}: {printed}");
    }
    let lines = text(&run(&["--json", "inspect", "--data", string(data.path())]).await.stdout);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["people"]["shadows"], 1);
    assert_eq!((&lines[1]["type"], &lines[1]["exports"]), (&"rights".into(), &0.into()));
    let kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"profile") && kinds.contains(&"person"), "{kinds:?}");
    relay.stop("-TERM").await;
}

#[tokio::test]
async fn its_log_holds_no_name_and_number_but_how_the_number_of_a_code_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "[log]\njson = true\nlevel = \"trace\"").unwrap();
    let relay = Process::start(&folder.path().join("data"), &["--config", string(&file)]).await;
    let bob = Device::named("othercanary");
    let mut client = Client::register(&relay.url, &bob).await;
    client.ask(Request::PublishPrekeys(prekeys(1, 3, true))).await;
    let number = "+4917012345619";
    client.ask(tell(demonstration::RequestPhoneCode { phone: number.into() })).await;
    client.refused(tell(demonstration::VerifyPhone { code: "no".into() })).await;
    let people = vec![demonstration::Person {
        name: Some("thirdcanary".into()),
        phone: number.into(),
        ..demonstration::Person::default()
    }];
    client.ask(tell(demonstration::UploadAddressBook { people, replace: true })).await;
    client.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    let (code, log) = relay.stop("-TERM").await;
    assert_eq!(code, Some(0));
    let lower = log.to_lowercase();
    for canary in ["canary", &number[1..number.len() - 2], &bob.address.account.to_string()] {
        assert!(!lower.contains(canary), "{canary} is in the log: {log}");
    }
    assert!(log.contains("phone_code") && log.contains("19\""), "the code, and how its number ends: {log}");
}

#[tokio::test]
async fn its_documents_are_those_of_the_repository() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap();
    for (words, path) in [
        (&["registry", "record"][..], "docs/privacy/record-of-processing.md"),
        (&["registry", "record", "--format", "json"], "docs/privacy/record-of-processing.json"),
        (&["registry", "notice"], "docs/privacy/notice.md"),
        (&["registry", "legend", "--format", "json"], "docs/privacy/legend.json"),
    ] {
        assert_eq!(text(&run(words).await.stdout), read(path), "{words:?}");
    }
}
