//! What happens to prekeys in the course of time: numbers (KV-021) and secrets (KV-022), on a store in memory.

use std::collections::BTreeSet;

use kuvert_protocol::identity::DeviceSecrets;

use super::*;
use crate::store::Mode;
use crate::store::Store;
use crate::store::memory::MemoryStore;

const NOW: u64 = 1_700_000_000_000;
const NONE: Wanted = Wanted { one_time: 0, kem: 0 };
const ALL: Wanted = Wanted { one_time: MAX_ONE_TIME_PREKEYS, kem: MAX_ONE_TIME_PREKEYS };

struct Device {
    store: MemoryStore,
    secrets: DeviceSecrets,
}

impl Device {
    fn new() -> Self {
        Self { store: MemoryStore::new(), secrets: DeviceSecrets::generate(&mut crate::rng::system_rng()) }
    }

    fn transact<T>(&mut self, body: impl FnOnce(&dyn Transaction, &DeviceSecrets) -> T) -> T {
        let tx = self.store.begin(Mode::Write).unwrap();
        let result = body(&*tx, &self.secrets);
        tx.commit().unwrap();
        result
    }

    /// As [`maintain`] does it, with the same time on both clocks.
    fn maintain(&mut self, wanted: &Wanted, now: u64) -> bool {
        self.maintain_with(wanted, now, now)
    }

    fn maintain_with(&mut self, wanted: &Wanted, now: u64, relay_time: u64) -> bool {
        self.transact(|tx, secrets| {
            let made = generate(tx, secrets, wanted, now, relay_time, &mut crate::rng::system_rng()).unwrap();
            delete_old(tx, now, relay_time).unwrap();
            made
        })
    }

    fn ids(&mut self, wanted: Kind) -> Vec<u32> {
        let all = self.transact(|tx, _| Stored::all(tx).unwrap());
        all.into_iter().filter(|(kind, ..)| *kind == wanted).map(|(_, id, _)| id).collect()
    }
}

#[test]
fn no_prekey_id_is_given_twice_by_kind_and_kem_prekeys_share_one_counter() {
    let mut device = Device::new();
    let mut given: [BTreeSet<u32>; 3] = Default::default();
    let few = Wanted { one_time: 3, kem: 2 };
    for week in 0..4 {
        device.maintain(&few, NOW + week * ROTATION_MS);
        let all = device.transact(|tx, _| Stored::all(tx).unwrap());
        for (kind, id, stored) in all {
            let counter = match kind {
                Kind::Signed => 0,
                Kind::OneTime => 1,
                Kind::KemOneTime | Kind::KemLastResort => 2,
            };
            let secret_again = stored.secret.get(1..5) == Some(&id.to_be_bytes()[..]);
            assert!(secret_again, "the number is in what is stored under it");
            given[counter].insert(id);
        }
        // All one-time prekeys are used up in the week, so that their numbers are free in the store.
        for kind in [Kind::OneTime, Kind::KemOneTime] {
            for id in device.ids(kind) {
                device.transact(|tx, _| tx.delete(Table::Prekey, &key(kind, id)).unwrap());
            }
        }
    }
    // Four weeks: 4 signed; 4 times 3; and 4 times 2 with the 4 of last resort. None came twice, none was left out.
    assert_eq!(
        given.map(|ids| ids.into_iter().collect::<Vec<_>>()),
        [4, 12, 12].map(|last| (1..=last).collect::<Vec<_>>())
    );
}

#[test]
fn numbers_go_on_behind_a_gap_when_some_were_given_twice_and_end_with_an_error() {
    let mut device = Device::new();
    device.maintain(&Wanted { one_time: 1, kem: 1 }, NOW);
    device.transact(|tx, _| skip_ahead(tx).unwrap());
    assert!(device.maintain(&NONE, NOW), "and rotation is due");
    assert_eq!(device.ids(Kind::Signed), [1, 1 + GAP + 1]);
    let mut counter = u32::MAX - 1;
    assert_eq!(next(&mut counter).unwrap(), u32::MAX, "every u32 is allowed");
    assert!(next(&mut counter).is_err(), "and none comes again");
}

#[test]
fn signed_and_last_resort_prekeys_are_replaced_each_week_and_when_the_relay_has_none_left() {
    let mut device = Device::new();
    device.maintain(&ALL, NOW);
    assert!(!device.maintain(&NONE, NOW + ROTATION_MS - 1));
    assert_eq!((device.ids(Kind::Signed).len(), device.ids(Kind::KemLastResort).len()), (1, 1));
    assert!(device.maintain(&NONE, NOW + ROTATION_MS));
    assert_eq!((device.ids(Kind::Signed).len(), device.ids(Kind::KemLastResort).len()), (2, 2));
    // One kind used up is an ordinary day; both are a relay that was restored.
    device.maintain(&Wanted { kem: 0, ..ALL }, NOW + ROTATION_MS + 1);
    assert_eq!(device.ids(Kind::Signed).len(), 2);
    device.maintain(&ALL, NOW + ROTATION_MS + 2);
    assert_eq!((device.ids(Kind::Signed).len(), device.ids(Kind::KemLastResort).len()), (3, 3));
}

#[test]
fn a_replaced_prekey_is_kept_for_37_days_by_both_clocks() {
    let mut device = Device::new();
    device.maintain(&NONE, NOW);
    let replaced = NOW + ROTATION_MS;
    device.maintain(&NONE, replaced);
    let (first_signed, first_kem) = (device.ids(Kind::Signed)[0], device.ids(Kind::KemLastResort)[0]);
    let still_there = |device: &mut Device| {
        (device.ids(Kind::Signed).contains(&first_signed), device.ids(Kind::KemLastResort).contains(&first_kem))
    };
    let days = |days: u64| replaced + days * DAY_MS;
    device.maintain(&NONE, days(37));
    assert_eq!(still_there(&mut device), (true, true), "to the end of the 37th day");
    // One clock that runs ahead deletes nothing.
    device.maintain_with(&NONE, days(4_000), days(1));
    assert_eq!(still_there(&mut device), (true, true));
    device.maintain_with(&NONE, days(1), days(4_000));
    assert_eq!(still_there(&mut device), (true, true));
    device.maintain(&NONE, days(37) + 1);
    assert_eq!(still_there(&mut device), (false, false));
    assert!(!device.ids(Kind::Signed).is_empty() && !device.ids(Kind::KemLastResort).is_empty(), "the newest stay");
}

#[test]
fn what_a_first_message_used_is_deleted_and_nothing_else() {
    let mut device = Device::new();
    device.maintain(&Wanted { one_time: 2, kem: 2 }, NOW);
    let (signed, one_time) = (device.ids(Kind::Signed), device.ids(Kind::OneTime));
    let (kem, last_resort) = (device.ids(Kind::KemOneTime), device.ids(Kind::KemLastResort));
    let used = UsedPrekeys { signed: signed[0], one_time: None, kem: None };
    device.transact(|tx, _| delete_used(tx, &used).unwrap());
    assert_eq!((device.ids(Kind::OneTime), device.ids(Kind::KemOneTime)), (one_time.clone(), kem.clone()));
    let used = UsedPrekeys { signed: signed[0], one_time: Some(one_time[0]), kem: Some(kem[1]) };
    device.transact(|tx, _| delete_used(tx, &used).unwrap());
    assert_eq!((device.ids(Kind::OneTime), device.ids(Kind::KemOneTime)), (vec![one_time[1]], vec![kem[0]]));
    assert_eq!((device.ids(Kind::Signed), device.ids(Kind::KemLastResort)), (signed, last_resort));
    device.transact(|tx, _| {
        let secrets = Secrets::new(tx);
        let has_one_time = |id| secrets.one_time(id).unwrap().is_some();
        assert!(!has_one_time(one_time[0]) && has_one_time(one_time[1]));
        let has_kem = |id| secrets.kem(id).unwrap().is_some();
        assert!(!has_kem(kem[1]) && has_kem(kem[0]));
    });
}

#[test]
fn a_replaced_prekey_goes_after_a_week_once_all_mail_was_fetched() {
    let mut device = Device::new();
    device.maintain(&ALL, NOW);
    device.maintain(&NONE, NOW + ROTATION_MS);
    let replaced_at = NOW + ROTATION_MS;
    let caught_up = |device: &mut Device, at: u64| device.transact(|tx, _| note_caught_up(tx, at).unwrap());
    // Before the week is over a sender may still submit what it sealed.
    caught_up(&mut device, replaced_at + SENT_LATE_MS - 1);
    device.maintain(&NONE, replaced_at + SENT_LATE_MS - 1);
    device.maintain(&NONE, replaced_at + SENT_LATE_MS + 1);
    assert!(device.ids(Kind::Signed).contains(&1), "mail of the last moment may wait");
    caught_up(&mut device, replaced_at + SENT_LATE_MS);
    // Not by one clock alone.
    device.maintain_with(&NONE, replaced_at + SENT_LATE_MS + 1, replaced_at);
    assert!(device.ids(Kind::Signed).contains(&1));
    device.maintain(&NONE, replaced_at + SENT_LATE_MS + 1);
    assert!(!device.ids(Kind::Signed).contains(&1));
    assert!(!device.ids(Kind::KemLastResort).contains(&1));
}

#[test]
fn strangers_bring_the_next_last_resort_prekey_early_but_not_more_often_than_once_an_hour_nor_without_end() {
    let mut device = Device::new();
    device.maintain(&NONE, NOW);
    let fill = |device: &mut Device| {
        let in_use = *device.ids(Kind::KemLastResort).last().unwrap();
        device.transact(|tx, _| {
            // `version 2 ‖ count ‖ count × (trust ‖ account ‖ tag)`, as the protocol writes it.
            let count = u32::try_from(STRANGERS_PER_PREKEY / 2).unwrap();
            let mut record = vec![2];
            record.extend_from_slice(&count.to_be_bytes());
            for number in 0..count {
                record.push(2); // a stranger's
                record.extend_from_slice(&[&number.to_be_bytes()[..], &[0; 12]].concat());
                record.extend_from_slice(&[&number.to_be_bytes()[..], &[0; 28]].concat());
            }
            assert_eq!(ReplayRecord::decode(&record).unwrap().strangers(), STRANGERS_PER_PREKEY / 2);
            tx.put(Table::Replay, &in_use.to_be_bytes(), &record).unwrap();
        });
    };
    let mut now = NOW;
    fill(&mut device);
    assert!(!device.maintain(&NONE, now + EARLY_ROTATION_MS - 1));
    for replaced in 1..=MAX_REPLACED {
        fill(&mut device);
        now += EARLY_ROTATION_MS;
        assert!(device.maintain(&NONE, now), "{replaced}");
        assert!(!device.maintain(&NONE, now + 1), "an empty record");
        assert_eq!(device.ids(Kind::KemLastResort).len(), replaced + 1);
    }
    fill(&mut device);
    now += EARLY_ROTATION_MS;
    assert!(!device.maintain(&NONE, now), "as many as are kept");
}

#[test]
fn a_prekey_that_was_replaced_under_a_clock_that_ran_ahead_goes_by_the_relays() {
    let mut device = Device::new();
    device.maintain(&NONE, NOW);
    let replaced = NOW + ROTATION_MS;
    // One start, a year ahead.
    device.maintain_with(&NONE, replaced + 365 * DAY_MS, replaced);
    device.maintain(&NONE, replaced + KEEP_REPLACED_MS);
    assert!(device.ids(Kind::Signed).contains(&1), "no earlier than any other");
    device.maintain(&NONE, replaced + KEEP_REPLACED_MS + 1);
    assert!(!device.ids(Kind::Signed).contains(&1), "and no year later");
}
