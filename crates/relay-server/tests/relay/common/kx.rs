//! Key exchange groups that tell which one of them a handshake was completed with.

use std::sync::Mutex;

use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup};

/// The groups of completed handshakes.
pub type Completed = &'static Mutex<Vec<NamedGroup>>;

/// `provider` with its groups under watch.
pub fn watched(mut provider: CryptoProvider) -> (CryptoProvider, Completed) {
    let completed: Completed = Box::leak(Box::default());
    provider.kx_groups = provider
        .kx_groups
        .into_iter()
        .map(|group| Box::leak(Box::new(Watched { group, completed })) as &'static dyn SupportedKxGroup)
        .collect();
    (provider, completed)
}

#[derive(Debug)]
struct Watched {
    group: &'static dyn SupportedKxGroup,
    completed: Completed,
}

impl SupportedKxGroup for Watched {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Active { inner: self.group.start()?, completed: self.completed }))
    }

    fn name(&self) -> NamedGroup {
        self.group.name()
    }
}

struct Active {
    inner: Box<dyn ActiveKeyExchange>,
    completed: Completed,
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let group = self.inner.group();
        let secret = self.inner.complete(peer)?;
        self.completed.lock().unwrap().push(group);
        Ok(secret)
    }

    fn pub_key(&self) -> &[u8] {
        self.inner.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.inner.group()
    }
}
