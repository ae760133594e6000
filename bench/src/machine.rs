//! What the machine is, what this process has used, and what others used meanwhile.

use std::time::Instant;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};

use crate::job::Usage;

/// User and system CPU seconds of this process.
pub fn cpu_seconds() -> f64 {
    used(UsageWho::RUSAGE_SELF)
}

fn used(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("the system tells what is used");
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// What this process has used until now.
pub fn usage() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kib = line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0);
    Usage { cpu: cpu_seconds(), rss: kib * 1024 }
}

/// Lets this process open as many files as the system allows it.
pub fn raise_open_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // where it is refused the limit stays, and a run that needs more files fails by itself
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// The machine in one line: processor, cores, kernel.
pub fn describe() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".into());
    let system = std::env::consts::OS;
    format!("{}, {cores} cores, {system} {}", model.unwrap_or("unknown processor"), kernel.trim())
}

/// Watches what the whole machine does from [`Watch::start`] on.
#[derive(Debug)]
pub struct Watch {
    begun: Instant,
    load: f64,
    ticks: Option<Ticks>,
    children: f64,
}

/// What others did meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Others {
    /// Load average of the minute before the start.
    pub load_before: f64,
    /// Cores that programs other than this one and its children used, on average.
    pub cores: f64,
    /// Cores that the machine below took away, on average.
    pub stolen: f64,
}

#[derive(Clone, Copy, Debug)]
struct Ticks {
    busy: f64,
    stolen: f64,
}

impl Watch {
    /// From now on.
    pub fn start() -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        Self { begun: Instant::now(), load, ticks: Ticks::read(), children: own() }
    }

    /// Until now. `None` where the system does not tell.
    pub fn others(&self) -> Option<Others> {
        let (before, after) = (self.ticks?, Ticks::read()?);
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        let cores = ((after.busy - before.busy) - (own() - self.children)).max(0.0) / seconds;
        Some(Others { load_before: self.load, cores, stolen: (after.stolen - before.stolen) / seconds })
    }
}

/// CPU seconds of this process and of its children that ended.
fn own() -> f64 {
    used(UsageWho::RUSAGE_SELF) + used(UsageWho::RUSAGE_CHILDREN)
}

impl Ticks {
    /// Seconds of all cores since boot, from the first line of `/proc/stat`.
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let hertz = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
        // user nice system idle iowait irq softirq steal
        let at = |index: usize| fields.get(index).copied().unwrap_or(0.0) / hertz;
        Some(Self { busy: at(0) + at(1) + at(2) + at(5) + at(6), stolen: at(7) })
    }
}
