//! What is told about data is complete, and the documents are what the registry says. `KUVERT_WRITE_REGISTRY=1` before `cargo
//! test -p kuvert-privacy --test documents` writes the documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kuvert_privacy::registry::field::{Basis, Deletion, Retention};
use kuvert_privacy::registry::items::{self, Shown};
use kuvert_privacy::registry::{self, documents, not_held};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_entry_says_everything() {
    let mut seen = BTreeSet::new();
    for field in registry::all() {
        let name = format!("{} {}", field.place, field.name());
        assert!(seen.insert(name.clone()), "{name} stands twice");
        assert!(!field.column.is_empty() && !field.meaning.is_empty() && !field.levels.is_empty(), "{name}");
        assert!(!field.meaning.contains('|'), "{name}: a table cell");
        assert!(field.items.iter().all(|item| (1..=47).contains(item)), "{name}");
        if field.is_personal() {
            assert_ne!(field.basis, Basis::NotPersonal, "{name}: personal data need a legal basis");
            assert_ne!(field.deletion, Deletion::Nothing, "{name}: personal data are deleted");
            assert!(!field.items.is_empty(), "{name}: personal data stand in the catalogue");
        }
        let fits = match field.deletion {
            Deletion::AcknowledgeOrPurge => matches!(field.retention, Retention::UntilAcknowledged { .. }),
            Deletion::AcknowledgeOrRewrite => matches!(field.retention, Retention::UntilAcknowledged { .. }),
            Deletion::ReadOrPurge | Deletion::ReadOrRewrite => matches!(field.retention, Retention::UntilRead { .. }),
            Deletion::Detach => field.retention == Retention::WithConnection,
            Deletion::HandOut => field.retention == Retention::UntilHandedOut,
            Deletion::UseOrPurge => matches!(field.retention, Retention::UntilUsed { .. }),
            Deletion::Replace => field.retention == Retention::UntilReplaced,
            Deletion::Tell => field.retention == Retention::UntilTold,
            Deletion::Account => field.retention == Retention::WithAccount,
            Deletion::AccountOrPurge | Deletion::Deidentify | Deletion::AfterMail | Deletion::AfterObject => {
                matches!(field.retention, Retention::AtMost { .. })
            }
            Deletion::Release => field.retention == Retention::WhileHeld,
            Deletion::Memory => matches!(
                field.retention,
                Retention::WithConnection | Retention::UntilRestart | Retention::UntilUsed { .. }
            ),
            Deletion::Rested => matches!(field.retention, Retention::UntilRested { .. }),
            Deletion::Operator | Deletion::Nothing => field.retention == Retention::OperatorsChoice,
        };
        assert!(fits, "{name}: {} does not end by: {}", field.retention, field.deletion);
    }
}

#[test]
fn every_item_of_the_catalogue_is_there_and_what_it_names_exists() {
    let has_word =
        |(file, word): (&str, &str)| read(file).split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word);
    let is_test = |(file, name): (&str, &str)| {
        let text = read(file);
        let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("no test {name} in {file}"));
        text[..at].lines().rev().take(3).any(|line| line.contains("test]"))
    };
    for (number, item) in (1..).zip(items::ALL) {
        assert_eq!(item.number, number);
        if let Shown::Yes(proof) | Shown::Partly { proof, .. } = &item.shown {
            assert!(has_word(proof.code), "M-{number:02}: {:?}", proof.code);
            assert!(is_test(proof.test), "M-{number:02}: {:?}", proof.test);
        }
    }
    assert_eq!(items::ALL.len(), 47);
    for entry in not_held::ALL {
        assert!(is_test((entry.file, entry.test)), "{}", entry.what);
    }
}

#[test]
fn the_documents_are_what_the_registry_says() {
    let write = std::env::var_os("KUVERT_WRITE_REGISTRY").is_some_and(|value| value == "1");
    for documents::File { path, content } in documents::files() {
        let file = root().join(path);
        if write {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &content).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == content,
            "{path} is stale: run KUVERT_WRITE_REGISTRY=1 cargo test -p kuvert-privacy --test documents"
        );
    }
}
