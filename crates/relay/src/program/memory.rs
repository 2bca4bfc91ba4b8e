//! What is in this process's memory stays there: keys of the endpoint, addresses, who is connected.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the system write no core dump of this process, and lets no other process of the user look into it. A system that refuses
/// goes on without: serving matters more.
pub fn no_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Dumps that go to a program through a pipe do not ask for the limit.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
