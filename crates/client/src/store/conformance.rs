//! What every store must do. Written as a function, so that a backend outside of this crate can run it from its tests.

#![allow(clippy::unwrap_used, clippy::panic)] // it is a test that lives beside the trait

use super::{Entry, Log, Mode, Store, Table, Transaction};

/// Runs all checks, each on a fresh, empty store.
///
/// # Panics
/// Where the store does not conform.
pub fn run(mut fresh: impl FnMut() -> Box<dyn Store>) {
    for check in [
        keys_are_separate_by_table as fn(&mut dyn Store),
        changes_are_seen_inside_and_only_committed_ones_outside,
        logs_keep_order_and_refuse_a_second_key,
        places_never_come_back,
        groups_are_separate,
        scans_page_without_gaps,
        scans_go_back_and_count_what_stands_before,
        scrubbing_keeps_what_is_there,
        logs_are_separate,
        read_transactions_do_not_write,
        every_byte_string_is_a_key_and_a_value,
        relaxed_commits_are_seen_at_once,
    ] {
        check(&mut *fresh());
    }
}

fn write<T>(store: &mut dyn Store, work: impl FnOnce(&dyn Transaction) -> T) -> T {
    let tx = store.begin(Mode::Write).unwrap();
    let value = work(&*tx);
    tx.commit().unwrap();
    value
}

fn read<T>(store: &mut dyn Store, work: impl FnOnce(&dyn Transaction) -> T) -> T {
    let tx = store.begin(Mode::Read).unwrap();
    work(&*tx)
}

fn get(store: &mut dyn Store, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    read(store, |tx| tx.get(table, key).unwrap().map(|value| value.to_vec()))
}

fn keys(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

fn keys_are_separate_by_table(store: &mut dyn Store) {
    write(store, |tx| {
        tx.put(Table::Own, b"k", b"own").unwrap();
        tx.put(Table::Contact, b"k", b"contact").unwrap();
        tx.put(Table::Contact, b"j", b"other").unwrap();
    });
    assert_eq!(get(store, Table::Own, b"k").unwrap(), b"own");
    assert_eq!(get(store, Table::Contact, b"k").unwrap(), b"contact");
    assert_eq!(get(store, Table::Session, b"k"), None);
    write(store, |tx| {
        assert!(tx.delete(Table::Contact, b"k").unwrap());
        assert!(!tx.delete(Table::Contact, b"k").unwrap());
        assert_eq!(tx.count(Table::Contact).unwrap(), 1);
        assert_eq!(tx.count(Table::Session).unwrap(), 0);
    });
    assert_eq!(get(store, Table::Own, b"k").unwrap(), b"own");
    assert_eq!(get(store, Table::Contact, b"k"), None);
}

fn changes_are_seen_inside_and_only_committed_ones_outside(store: &mut dyn Store) {
    write(store, |tx| tx.put(Table::Own, b"k", b"1").unwrap());
    let tx = store.begin(Mode::Write).unwrap();
    tx.put(Table::Own, b"k", b"2").unwrap();
    tx.delete(Table::Own, b"k").unwrap();
    tx.put(Table::Own, b"k", b"3").unwrap();
    tx.append(Log::Outbox, b"g", b"e", b"v").unwrap();
    assert_eq!(tx.get(Table::Own, b"k").unwrap().unwrap().as_slice(), b"3");
    assert_eq!(tx.len(Log::Outbox).unwrap(), 1);
    drop(tx);
    assert_eq!(get(store, Table::Own, b"k").unwrap(), b"1");
    assert_eq!(read(store, |tx| tx.len(Log::Outbox).unwrap()), 0);
}

fn logs_keep_order_and_refuse_a_second_key(store: &mut dyn Store) {
    let places: Vec<u64> = write(store, |tx| {
        [b"c", b"a", b"b"].map(|key| tx.append(Log::Message, b"g", key, b"v").unwrap().unwrap()).to_vec()
    });
    assert!(places.is_sorted_by(|a, b| a < b));
    write(store, |tx| {
        assert_eq!(tx.append(Log::Message, b"h", b"a", b"other").unwrap(), None);
        assert_eq!(tx.find(Log::Message, b"a").unwrap().unwrap().value.as_slice(), b"v");
        assert!(tx.replace(Log::Message, places[1], b"new").unwrap());
        assert!(!tx.replace(Log::Message, 1 << 40, b"new").unwrap());
    });
    read(store, |tx| {
        let all = tx.scan(Log::Message, None, 0, 10).unwrap();
        assert_eq!(keys(&all), [b"c", b"a", b"b"]);
        assert_eq!(all[1], tx.find(Log::Message, b"a").unwrap().unwrap());
        assert_eq!(all[1], tx.at(Log::Message, places[1]).unwrap().unwrap());
        assert_eq!(all[1].value.as_slice(), b"new");
        assert_eq!(tx.find(Log::Message, b"z").unwrap(), None);
        assert_eq!(tx.at(Log::Message, 1 << 40).unwrap(), None);
    });
}

fn places_never_come_back(store: &mut dyn Store) {
    let first = write(store, |tx| tx.append(Log::Outbox, b"g", b"1", b"").unwrap().unwrap());
    write(store, |tx| {
        assert!(tx.remove(Log::Outbox, first).unwrap());
        assert!(!tx.remove(Log::Outbox, first).unwrap());
    });
    let second = write(store, |tx| tx.append(Log::Outbox, b"g", b"1", b"").unwrap().unwrap());
    assert!(second > first);
}

fn groups_are_separate(store: &mut dyn Store) {
    write(store, |tx| {
        for (group, key) in [(b"g", b"1"), (b"h", b"2"), (b"g", b"3")] {
            tx.append(Log::Message, group, key, b"").unwrap();
        }
    });
    read(store, |tx| {
        assert_eq!(keys(&tx.scan(Log::Message, Some(b"g"), 0, 10).unwrap()), [b"1", b"3"]);
        assert_eq!(keys(&tx.scan(Log::Message, Some(b"h"), 0, 10).unwrap()), [b"2"]);
        assert!(tx.scan(Log::Message, Some(b"i"), 0, 10).unwrap().is_empty());
        assert_eq!(tx.scan(Log::Message, None, 0, 10).unwrap().len(), 3);
    });
}

fn scans_page_without_gaps(store: &mut dyn Store) {
    write(store, |tx| {
        for key in 0..10u8 {
            tx.append(Log::Message, &[key % 2], &[key], b"").unwrap();
        }
    });
    for group in [None, Some([1].as_slice())] {
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = read(store, |tx| tx.scan(Log::Message, group, after, 3).unwrap());
            let Some(last) = page.last() else { break };
            after = last.place;
            seen.extend(page.into_iter().map(|entry| entry.key[0]));
        }
        let expected: Vec<u8> = (0..10).filter(|key| group.is_none_or(|g| g[0] == key % 2)).collect();
        assert_eq!(seen, expected);
    }
}

fn scans_go_back_and_count_what_stands_before(store: &mut dyn Store) {
    write(store, |tx| {
        for key in 0..10u8 {
            tx.append(Log::Message, &[key % 2], &[key], b"").unwrap();
            tx.append(Log::Outbox, &[key % 2], &[key], b"").unwrap();
        }
    });
    for group in [None, Some([1].as_slice())] {
        let expected: Vec<u8> = (0..10).rev().filter(|key| group.is_none_or(|g| g[0] == key % 2)).collect();
        let (mut before, mut seen) = (u64::MAX, Vec::new());
        loop {
            let left = read(store, |tx| tx.count_before(Log::Message, group, before).unwrap());
            assert_eq!(left, (expected.len() - seen.len()) as u64);
            let page = read(store, |tx| tx.scan_back(Log::Message, group, before, 3).unwrap());
            let Some(last) = page.last() else { break };
            before = last.place;
            seen.extend(page.into_iter().map(|entry| entry.key[0]));
        }
        assert_eq!(seen, expected);
    }
}

fn scrubbing_keeps_what_is_there(store: &mut dyn Store) {
    let places = write(store, |tx| {
        tx.put(Table::Own, b"k", b"v").unwrap();
        [b"1", b"2", b"3"].map(|key| tx.append(Log::Message, b"g", key, key).unwrap().unwrap())
    });
    write(store, |tx| assert!(tx.remove(Log::Message, places[2]).unwrap()));
    store.scrub().unwrap();
    assert_eq!(get(store, Table::Own, b"k").unwrap(), b"v");
    read(store, |tx| {
        let left = tx.scan(Log::Message, Some(b"g"), 0, 9).unwrap();
        assert_eq!(left.iter().map(|entry| entry.place).collect::<Vec<_>>(), places[..2]);
        assert_eq!(keys(&left), [b"1", b"2"]);
    });
    let next = write(store, |tx| tx.append(Log::Message, b"g", b"3", b"").unwrap().unwrap());
    assert!(next > places[2], "a place never comes back");
}

fn logs_are_separate(store: &mut dyn Store) {
    let place = write(store, |tx| tx.append(Log::Message, b"g", b"k", b"m").unwrap().unwrap());
    write(store, |tx| {
        assert!(tx.append(Log::Outbox, b"g", b"k", b"o").unwrap().is_some());
        assert_eq!(tx.at(Log::Outbox, place).unwrap(), None);
        assert!(!tx.remove(Log::Outbox, place).unwrap());
        assert!(!tx.replace(Log::Outbox, place, b"").unwrap());
        assert_eq!(tx.scan(Log::Outbox, Some(b"g"), 0, 9).unwrap()[0].value.as_slice(), b"o");
        assert_eq!((tx.len(Log::Outbox).unwrap(), tx.len(Log::Message).unwrap()), (1, 1));
    });
}

fn read_transactions_do_not_write(store: &mut dyn Store) {
    let tx = store.begin(Mode::Read).unwrap();
    assert!(tx.put(Table::Own, b"k", b"v").is_err());
    assert!(tx.delete(Table::Own, b"k").is_err());
    assert!(tx.append(Log::Outbox, b"g", b"k", b"v").is_err());
    assert!(tx.replace(Log::Outbox, 1, b"v").is_err());
    assert!(tx.remove(Log::Outbox, 1).is_err());
    tx.commit().unwrap();
    assert_eq!(get(store, Table::Own, b"k"), None);
}

fn every_byte_string_is_a_key_and_a_value(store: &mut dyn Store) {
    let long = vec![0xFF; 100_000];
    let keys: [&[u8]; 4] = [b"", b"\0", b"\0\0", &[0xFF; 300]];
    write(store, |tx| {
        for key in keys {
            tx.put(Table::Own, key, b"").unwrap();
            tx.put(Table::Contact, key, &long).unwrap();
        }
    });
    read(store, |tx| {
        let own = tx.list(Table::Own).unwrap();
        assert_eq!(own.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), keys, "ascending by key");
        for key in keys {
            assert_eq!(tx.get(Table::Own, key).unwrap().unwrap().as_slice(), b"");
            assert_eq!(*tx.get(Table::Contact, key).unwrap().unwrap(), long);
        }
    });
}

fn relaxed_commits_are_seen_at_once(store: &mut dyn Store) {
    let tx = store.begin(Mode::WriteRelaxed).unwrap();
    tx.put(Table::Unshown, b"k", b"v").unwrap();
    tx.commit().unwrap();
    assert_eq!(get(store, Table::Unshown, b"k").unwrap(), b"v");
}
