//! What the observation log of a relay holds at a level: the attacker's whole knowledge.
//!
//! A [`Log`] is filled by the relay's events alone, through the relay's own [`Observer`], and keeps of each event the
//! columns that the registry gives to the level. It cannot be asked which simulated person a number stands for: people
//! are numbered in the order in which the log first saw them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use kuvert_privacy::registry::{self, Level, Place};
use kuvert_relay::observe::{Event, Observer};
use kuvert_types::{Address, BlobId};

/// A person in a log: the next number for each device that it sees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Person(u32);

impl Person {
    /// A place in a table of all people.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The person at a place.
    pub(crate) const fn at(index: usize) -> Self {
        Self(index as u32)
    }
}

/// An envelope came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// When, Unix milliseconds.
    pub at: u64,
    /// From whom, where the level tells.
    pub by: Option<Person>,
    /// For whom.
    pub recipient: Person,
    /// Bytes of ciphertext.
    pub size: u32,
}

/// An envelope was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// When, Unix milliseconds.
    pub at: u64,
    /// To whom.
    pub device: Person,
}

/// A file came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// From whom: told at every level.
    pub by: Person,
    /// When it was complete, Unix milliseconds; `None`: it is not.
    pub complete: Option<u64>,
    /// Padded bytes.
    pub size: u64,
    /// When it was read first, Unix milliseconds; `None`: no reader has yet.
    pub read: Option<u64>,
    /// By whom, where the level tells.
    pub reader: Option<Person>,
}

/// A level's log.
#[derive(Debug, Default)]
pub struct Log {
    people: HashMap<Address, Person>,
    named: Vec<bool>,
    submitted: Vec<Submitted>,
    delivered: Vec<Delivered>,
    files: Vec<File>,
    file_at: HashMap<BlobId, usize>,
}

impl Log {
    /// How many people it has seen.
    pub fn people(&self) -> usize {
        self.named.len()
    }

    /// Of how many it has a phone number.
    pub fn named(&self) -> usize {
        self.named.iter().filter(|named| **named).count()
    }

    /// What came, in the order of time.
    pub fn submitted(&self) -> &[Submitted] {
        &self.submitted
    }

    /// What was handed over, in the order of time.
    pub fn delivered(&self) -> &[Delivered] {
        &self.delivered
    }

    /// The files, in the order in which their uploads began to be seen.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The number of a device that the log has seen.
    pub fn person(&self, device: &Address) -> Option<Person> {
        self.people.get(device).copied()
    }

    fn file(&mut self, id: &BlobId) -> Option<&mut File> {
        let at = *self.file_at.get(id)?;
        self.files.get_mut(at)
    }

    fn intern(&mut self, device: &Address) -> Person {
        let next = Person::at(self.named.len());
        match self.people.entry(*device) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(next);
                self.named.push(false);
                next
            }
        }
    }
}

/// Writes a [`Log`].
#[derive(Debug)]
pub struct Tap {
    /// Whether the level has these columns of `event`.
    source: bool,
    phone: bool,
    log: Mutex<Log>,
}

impl Tap {
    /// An empty log of a level.
    pub fn new(level: Level) -> Self {
        let has = |column| {
            registry::find(Place::Observations, "event", column).is_some_and(|field| field.levels.contains(&level))
        };
        Self { source: has("source"), phone: has("phone"), log: Mutex::default() }
    }

    /// What was written.
    pub fn into_log(self) -> Log {
        self.log.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tap {
    fn see(&self, at: u64, event: Event) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Registered { device, phone, .. } => {
                let person = log.intern(&device);
                log.named[person.index()] = self.phone && phone.is_some();
            }
            // That it is dropped afterwards makes no difference to what was learnt.
            Event::Submitted { by, source, recipient, size, .. }
            | Event::Dropped { by, source, recipient, size, .. } => {
                // Without authentication there is no `by`, and the source is what the level leaves of it.
                let by = by.or(source.filter(|_| self.source)).map(|device| log.intern(&device));
                let recipient = log.intern(&recipient);
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                log.submitted.push(Submitted { at, by, recipient, size });
            }
            Event::Delivered { device, .. } => {
                let device = log.intern(&device);
                log.delivered.push(Delivered { at, device });
            }
            Event::BlobCreated { by, id, size, .. } => {
                let by = log.intern(&by);
                let at = log.files.len();
                log.file_at.insert(id, at);
                log.files.push(File { by, complete: None, size, read: None, reader: None });
            }
            Event::BlobCommitted { id, .. } => {
                if let Some(file) = log.file(&id) {
                    file.complete = Some(at);
                }
            }
            Event::BlobRead { by, id, .. } => {
                let reader = by.map(|device| log.intern(&device));
                if let Some(file) = log.file(&id).filter(|file| file.read.is_none()) {
                    (file.read, file.reader) = (Some(at), reader);
                }
            }
            // Nothing that an attack here makes use of.
            _ => {}
        }
    }
}
