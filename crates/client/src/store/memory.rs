//! A store in memory: the model that other backends are compared with.

use std::cell::RefCell;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{Entry, Log, Mode, Store, StoreError, Table, Transaction, Unreadable, Value};

#[derive(Clone, Default)]
struct Data {
    tables: BTreeMap<(Table, Vec<u8>), Value>,
    logs: BTreeMap<(Log, u64), Row>,
    last_place: u64,
    commits: u64,
}

#[derive(Clone)]
struct Row {
    group: Vec<u8>,
    key: Vec<u8>,
    value: Value,
}

/// Keeps everything in memory. A transaction works on a copy.
#[derive(Default)]
pub struct MemoryStore(Data);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn begin(&mut self, mode: Mode) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let data = RefCell::new(self.0.clone());
        Ok(Box::new(MemoryTransaction { data, home: &mut self.0, mode }))
    }

    fn changes(&mut self) -> Result<u64, StoreError> {
        Ok(self.0.commits)
    }
}

struct MemoryTransaction<'a> {
    data: RefCell<Data>,
    home: &'a mut Data,
    mode: Mode,
}

impl MemoryTransaction<'_> {
    fn writing(&self) -> Result<(), StoreError> {
        if self.mode == Mode::Read { Err(StoreError::Io("write in a read transaction".to_owned())) } else { Ok(()) }
    }
}

fn entry((&(_, place), row): (&(Log, u64), &Row)) -> Entry {
    Entry { place, key: row.key.clone(), value: row.value.clone() }
}

impl Transaction for MemoryTransaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.data.borrow().tables.get(&(table, key.to_vec())).cloned())
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writing()?;
        self.data.borrow_mut().tables.insert((table, key.to_vec()), Zeroizing::new(value.to_vec()));
        Ok(())
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.writing()?;
        Ok(self.data.borrow_mut().tables.remove(&(table, key.to_vec())).is_some())
    }

    fn list(&self, table: Table) -> Result<Vec<(Vec<u8>, Value)>, StoreError> {
        let data = self.data.borrow();
        let rows = data.tables.iter().filter(|((t, _), _)| *t == table);
        Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.data.borrow().tables.keys().filter(|(t, _)| *t == table).count() as u64)
    }

    fn append(&self, log: Log, group: &[u8], key: &[u8], value: &[u8]) -> Result<Option<u64>, StoreError> {
        self.writing()?;
        if self.find(log, key)?.is_some() {
            return Ok(None);
        }
        let mut data = self.data.borrow_mut();
        data.last_place += 1;
        let place = data.last_place;
        let row = Row { group: group.to_vec(), key: key.to_vec(), value: Zeroizing::new(value.to_vec()) };
        data.logs.insert((log, place), row);
        Ok(Some(place))
    }

    fn find(&self, log: Log, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        Ok(self.data.borrow().logs.iter().find(|((l, _), row)| *l == log && row.key == key).map(entry))
    }

    fn at(&self, log: Log, place: u64) -> Result<Option<Entry>, StoreError> {
        Ok(self.data.borrow().logs.get_key_value(&(log, place)).map(entry))
    }

    fn replace(&self, log: Log, place: u64, value: &[u8]) -> Result<bool, StoreError> {
        self.writing()?;
        let mut data = self.data.borrow_mut();
        let Some(row) = data.logs.get_mut(&(log, place)) else { return Ok(false) };
        row.value = Zeroizing::new(value.to_vec());
        Ok(true)
    }

    fn remove(&self, log: Log, place: u64) -> Result<bool, StoreError> {
        self.writing()?;
        Ok(self.data.borrow_mut().logs.remove(&(log, place)).is_some())
    }

    fn scan(&self, log: Log, group: Option<&[u8]>, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let data = self.data.borrow();
        let rows = data.logs.range((log, after.saturating_add(1))..=(log, u64::MAX));
        Ok(rows.filter(|(_, row)| group.is_none_or(|g| row.group == g)).take(limit).map(entry).collect())
    }

    fn scan_back(&self, log: Log, group: Option<&[u8]>, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let data = self.data.borrow();
        let rows = data.logs.range((log, 0)..(log, before)).rev();
        Ok(rows.filter(|(_, row)| group.is_none_or(|g| row.group == g)).take(limit).map(entry).collect())
    }

    fn len(&self, log: Log) -> Result<u64, StoreError> {
        Ok(self.data.borrow().logs.keys().filter(|(l, _)| *l == log).count() as u64)
    }

    fn remove_unreadable(&self, _: usize) -> Result<Vec<Unreadable>, StoreError> {
        Ok(Vec::new())
    }

    fn was(&self, _: &Unreadable, _: &[u8]) -> bool {
        false
    }

    fn was_in(&self, _: &Unreadable, _: &[u8]) -> bool {
        false
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { data, home, mode } = *self;
        if mode != Mode::Read {
            *home = data.into_inner();
            home.commits += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        super::super::conformance::run(|| Box::new(MemoryStore::new()) as Box<dyn Store>);
    }
}
