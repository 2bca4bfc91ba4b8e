//! The codes with which the relay closes a connection (QUIC application close), with the words that go with them. Before
//! it closes for something that the client did, it also sends an Error frame that says more.

use quinn::VarInt;

/// A code and its words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    code: u32,
    /// For people.
    pub reason: &'static str,
}

impl Close {
    /// Nothing is wrong.
    pub const DONE: Self = Self { code: 0, reason: "done" };
    /// What was sent is not the protocol.
    pub const PROTOCOL: Self = Self { code: 1, reason: "protocol error" };
    /// Handshake, authentication or a frame took too long.
    pub const TOO_SLOW: Self = Self { code: 2, reason: "too slow" };
    /// The client does not take what it is sent.
    pub const NOT_READING: Self = Self { code: 3, reason: "not reading" };
    /// No place for this connection now.
    pub const FULL: Self = Self { code: 4, reason: "too many connections; try again later" };
    /// No room for what this connection sends now.
    pub const NO_ROOM: Self = Self { code: 4, reason: "too many bytes of requests at once; try again later" };
    /// The relay shuts down.
    pub const GOING_AWAY: Self = Self { code: 5, reason: "the relay is shutting down; connect again in a moment" };
    /// A second stream.
    pub const ONE_STREAM: Self = Self { code: 6, reason: "one stream per connection" };

    /// The account is no more.
    pub const ACCOUNT_DELETED: Self = Self { code: 7, reason: "the account was deleted" };

    /// The account goes on without this device. For a client it is the same.
    pub const DEVICE_DROPPED: Self = Self { code: 7, reason: "the account's device list names this device no more" };

    /// As QUIC wants it.
    pub fn code(self) -> VarInt {
        VarInt::from_u32(self.code)
    }

    /// Closes a connection.
    pub fn close(self, connection: &quinn::Connection) {
        connection.close(self.code(), self.reason.as_bytes());
    }

    /// Closes all connections of an endpoint.
    pub fn close_all(self, endpoint: &quinn::Endpoint) {
        endpoint.close(self.code(), self.reason.as_bytes());
    }
}
