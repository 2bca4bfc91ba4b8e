//! What is in a process's memory stays there: keys, addresses, texts, who is connected.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the system write no core dump of this process, and lets no other process of the user look into it. A system that refuses
/// goes on without: what the program is for matters more.
pub fn keep_private() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Dumps that go to a program through a pipe do not ask for the limit.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_core_dumps() {
        keep_private();
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    }
}
