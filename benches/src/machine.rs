//! Where the figures were taken, and with what.

use serde::Serialize;

/// Conditions of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Machine {
    /// Processor model.
    pub processor: String,
    /// Processors that the program may use.
    pub processors: usize,
    /// Which of the instruction sets that matter here it has.
    pub instructions: Vec<String>,
    /// Operating system and its version.
    pub system: String,
    /// Load averages (1, 5 and 15 minutes) before and after the run; above the number of processors, others disturbed it.
    pub load_before: String,
    /// The same at the end.
    pub load_after: String,
    /// Compiler.
    pub compiler: &'static str,
    /// Target.
    pub target: &'static str,
    /// Profile.
    pub profile: &'static str,
    /// Flags for the compiler.
    pub flags: &'static str,
    /// Crates that the figures depend on.
    pub versions: Vec<&'static str>,
    /// How time was taken.
    pub clock: &'static str,
}

impl Machine {
    /// Asks the system; what it does not say is left empty.
    pub fn read(load_before: String) -> Self {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name| cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
        let flags = field("flags").map_or("", |(_, flags)| flags);
        let known = ["sse4_1", "avx2", "avx512f", "avx512ifma", "sha_ni", "vaes", "bmi2", "adx"];
        Self {
            processor: field("model name").map_or_else(String::new, |(_, model)| model.to_owned()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            instructions: flags.split(' ').filter(|flag| known.contains(flag)).map(str::to_owned).collect(),
            system: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| std::env::consts::OS.to_owned(), |version| format!("Linux {}", version.trim())),
            load_before,
            load_after: load(),
            compiler: env!("KUVERT_BENCH_RUSTC"),
            target: env!("KUVERT_BENCH_TARGET"),
            profile: env!("KUVERT_BENCH_PROFILE"),
            flags: env!("KUVERT_BENCH_FLAGS"),
            versions: env!("KUVERT_BENCH_VERSIONS").split(',').collect(),
            clock: "CLOCK_THREAD_CPUTIME_ID, one thread",
        }
    }
}

/// Load averages as the system prints them.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
