//! The work itself, written once: each candidate gets the same contents in the same turns.

use kuvert_protocol::padding::padded_len;

use crate::Outcome;
use crate::meter::{Batch, Meter};
use crate::seeded::Seeded;

/// Two devices that write to each other.
pub trait Conversation {
    /// A message as it goes on the wire.
    type Message;

    /// Begins a new conversation; both sides have heard from each other.
    ///
    /// # Errors
    /// It could not be begun.
    fn begin() -> Outcome<Self>
    where
        Self: Sized;

    /// Encrypts.
    ///
    /// # Errors
    /// It failed.
    fn send(&mut self, from: Side, content: &[u8]) -> Outcome<Self::Message>;

    /// Decrypts what the other side sent, and says how long the content is.
    ///
    /// # Errors
    /// It failed.
    fn receive(&mut self, to: Side, message: &Self::Message) -> Outcome<usize>;

    /// A message there and one back.
    ///
    /// # Errors
    /// One of them failed.
    fn exchange(&mut self) -> Outcome<()> {
        for side in [Side::Alice, Side::Bob] {
            let message = self.send(side, b"turn")?;
            self.receive(side.other(), &message)?;
        }
        Ok(())
    }
}

/// Who. Alice began the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The initiator.
    Alice,
    /// The recipient.
    Bob,
}

impl Side {
    /// The one she writes to, or he.
    pub const fn other(self) -> Self {
        match self {
            Self::Alice => Self::Bob,
            Self::Bob => Self::Alice,
        }
    }
}

/// Which half of the work is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Encrypting.
    Send,
    /// Decrypting.
    Receive,
}

/// Bytes of padded content that are under way at a time in [`OneDirection`].
const UNDER_WAY: usize = 64 * 1024;

/// Contents from Alice to Bob, one after another, none back. Before each batch both exchange one message, so that the batches
/// meet the Braid in all its states; and the message that makes the Diffie–Hellman step is not counted, it is in [`PingPong`].
///
/// Messages are read and let go a few at a time, as a program does that hands them to a socket. A program that holds megabytes of
/// them measures the kernel: a fresh page of memory costs about as much as to seal a kilobyte.
pub struct OneDirection<C> {
    conversation: C,
    content: Vec<u8>,
    parts: usize,
    count: usize,
    half: Half,
}

impl<C: Conversation> OneDirection<C> {
    /// `count` contents of `size` bytes, each in `parts` messages.
    ///
    /// # Errors
    /// No conversation could be begun.
    pub fn new(half: Half, size: usize, parts: usize, count: usize) -> Outcome<Self> {
        Ok(Self { conversation: C::begin()?, content: content(size), parts, count, half })
    }
}

impl<C: Conversation> Batch for OneDirection<C> {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        let Self { conversation, content, parts, count, half } = self;
        conversation.exchange()?;
        let step = conversation.send(Side::Alice, b"step")?;
        conversation.receive(Side::Bob, &step)?;
        let part = content.len().div_ceil(*parts);
        let parts: Vec<&[u8]> = (0..*count).flat_map(|_| content.chunks(part)).collect();
        let at_a_time = (UNDER_WAY / padded_len(part)).max(1);
        let mut messages = Vec::with_capacity(at_a_time);
        let mut received = 0;
        for group in parts.chunks(at_a_time) {
            metered(*half == Half::Send, meter, || {
                group.iter().try_for_each(|part| {
                    messages.push(conversation.send(Side::Alice, part)?);
                    Outcome::Ok(())
                })
            })?;
            metered(*half == Half::Receive, meter, || {
                messages.iter().try_for_each(|message| {
                    received += conversation.receive(Side::Bob, message)?;
                    Outcome::Ok(())
                })
            })?;
            messages.clear();
        }
        if received == content.len() * *count { Ok(()) } else { Err("content got lost".into()) }
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// One message after another, each from the side that received the last one: a Diffie–Hellman step each. One operation is
/// to encrypt a message and to decrypt it.
pub struct PingPong<C> {
    conversation: C,
    content: Vec<u8>,
    count: usize,
    turn: Side,
}

impl<C: Conversation> PingPong<C> {
    /// Batches of `count` messages with `size` bytes of content.
    ///
    /// # Errors
    /// No conversation could be begun.
    pub fn new(size: usize, count: usize) -> Outcome<Self> {
        Ok(Self::over(C::begin()?, size, count))
    }

    /// The same over a conversation that has begun.
    pub fn over(conversation: C, size: usize, count: usize) -> Self {
        Self { conversation, content: content(size), count, turn: Side::Alice }
    }
}

impl<C: Conversation> Batch for PingPong<C> {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        meter.start();
        for _ in 0..self.count {
            let message = self.conversation.send(self.turn, &self.content)?;
            self.turn = self.turn.other();
            self.conversation.receive(self.turn, &message)?;
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.count
    }
}

/// The last of `skipped + 1` messages comes first, then the others in no order.
pub struct OutOfOrder<C> {
    conversation: C,
    content: Vec<u8>,
    skipped: usize,
    random: Seeded,
}

impl<C: Conversation> OutOfOrder<C> {
    /// `skipped` messages overtaken by one.
    ///
    /// # Errors
    /// No conversation could be begun.
    pub fn new(size: usize, skipped: usize) -> Outcome<Self> {
        Ok(Self { conversation: C::begin()?, content: content(size), skipped, random: Seeded::new() })
    }
}

impl<C: Conversation> Batch for OutOfOrder<C> {
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
        self.conversation.exchange()?;
        let mut messages = Vec::with_capacity(self.skipped + 1);
        for _ in 0..=self.skipped {
            messages.push(self.conversation.send(Side::Alice, &self.content)?);
        }
        shuffle(&mut self.random, &mut messages[..self.skipped]);
        meter.start();
        for message in messages.iter().rev() {
            self.conversation.receive(Side::Bob, message)?;
        }
        meter.stop();
        Ok(())
    }

    fn operations(&self) -> usize {
        self.skipped + 1
    }
}

/// Does `work`, which the meter counts or does not.
pub(crate) fn metered<T>(counted: bool, meter: &mut dyn Meter, work: impl FnOnce() -> T) -> T {
    if counted {
        meter.start();
    }
    let value = work();
    if counted {
        meter.stop();
    }
    value
}

/// `size` bytes that no compressor would make smaller.
pub fn content(size: usize) -> Vec<u8> {
    let mut random = Seeded::new();
    (0..size).map(|_| random.next().to_le_bytes()[3]).collect()
}

fn shuffle<T>(random: &mut Seeded, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        let other = usize::try_from(random.next() % (at as u64 + 1)).unwrap_or(at);
        items.swap(at, other);
    }
}
