//! Time of the CPU that this thread used, in batches that take turns: what else runs on the machine disturbs every contender
//! alike, and little.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Whatever is counted between `start` and `stop`: nanoseconds, or allocations in a test.
pub trait Meter {
    /// From here.
    fn start(&mut self);
    /// To here.
    fn stop(&mut self);
}

/// Work that can be done again and again.
pub trait Batch {
    /// Does it once: prepares what is not to be counted, then does the work itself between `start` and `stop`.
    ///
    /// # Errors
    /// The work failed.
    fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()>;

    /// Operations between `start` and `stop`.
    fn operations(&self) -> usize;
}

/// CPU time of the calling thread.
#[derive(Default)]
pub struct CpuTime {
    started: u64,
    total: u64,
}

impl CpuTime {
    fn now() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        // Neither is negative for this clock.
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
    }
}

impl Meter for CpuTime {
    fn start(&mut self) {
        self.started = Self::now();
    }

    fn stop(&mut self) {
        self.total += Self::now() - self.started;
    }
}

/// Nanoseconds for one operation: the median of all batches, and how far they lie apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// Half of the batches were faster.
    pub median: f64,
    /// From the first to the third quartile: half of the batches lie in it.
    pub spread: f64,
    /// How many batches.
    pub batches: usize,
}

impl Figure {
    fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        let at = |quarter: usize| samples[last * quarter / 4];
        Some(Self { median: at(2), spread: at(3) - at(1), batches: samples.len() })
    }
}

/// Rounds that a contest has at least, however little time there is.
const MIN_ROUNDS: usize = 5;

/// Runs one batch of each contender in turn, beginning with another one each time, for `time` altogether.
///
/// # Errors
/// A batch failed.
pub fn interleave(contenders: &mut [Box<dyn Batch>], time: Duration) -> Outcome<Vec<Figure>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for contender in contenders.iter_mut() {
        // Caches, branch predictors and lazily made tables.
        contender.run(&mut CpuTime::default())?;
    }
    let end = Instant::now() + time;
    let mut round = 0;
    while round < MIN_ROUNDS || Instant::now() < end {
        for turn in 0..contenders.len() {
            let at = (turn + round) % contenders.len();
            let mut meter = CpuTime::default();
            contenders[at].run(&mut meter)?;
            samples[at].push(meter.total as f64 / contenders[at].operations() as f64);
        }
        round += 1;
    }
    samples.into_iter().map(|samples| Figure::of(samples).ok_or_else(|| "no batch was run".into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let figure = Figure::of(vec![5.0, 1.0, 2.0, 100.0, 4.0]).unwrap();
        assert_eq!(figure, Figure { median: 4.0, spread: 3.0, batches: 5 });
        assert_eq!(Figure::of(Vec::new()), None);
    }

    #[test]
    fn cpu_time_counts_work_and_not_waiting() {
        let mut meter = CpuTime::default();
        meter.start();
        std::hint::black_box((0..1_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
        meter.stop();
        assert!(meter.total > 0);
    }

    #[test]
    fn everybody_gets_as_many_batches_and_a_warm_up() {
        struct Counting(std::rc::Rc<std::cell::Cell<usize>>);
        impl Batch for Counting {
            fn run(&mut self, meter: &mut dyn Meter) -> Outcome<()> {
                meter.start();
                self.0.set(self.0.get() + 1);
                meter.stop();
                Ok(())
            }
            fn operations(&self) -> usize {
                1
            }
        }
        let runs: [std::rc::Rc<std::cell::Cell<usize>>; 2] = Default::default();
        let mut contenders: Vec<Box<dyn Batch>> =
            runs.iter().map(|runs| Box::new(Counting(runs.clone())) as Box<dyn Batch>).collect();
        let figures = interleave(&mut contenders, Duration::ZERO).unwrap();
        assert_eq!(figures.iter().map(|figure| figure.batches).collect::<Vec<_>>(), [MIN_ROUNDS; 2]);
        assert!(runs.iter().all(|runs| runs.get() == MIN_ROUNDS + 1));
    }
}
