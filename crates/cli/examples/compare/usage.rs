//! Processor time of this process and of its threads, where the system tells.

use std::fs;

/// The network threads' name.
const NETWORK: &str = "weir-net";

/// Seconds of processor time so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Of the network threads that there are now (`/proc/self/task/*/schedstat`, nanoseconds).
    pub(crate) network: Option<f64>,
    /// Of the whole process (`/proc/self/stat`, fields 14 and 15, in hundredths).
    pub(crate) process: Option<f64>,
}

impl Usage {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { network: network(), process: process() }
    }

    /// What was used since.
    pub(crate) fn since(self, before: Self) -> Self {
        let less = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
        Self { network: less(self.network, before.network), process: less(self.process, before.process) }
    }
}

fn network() -> Option<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let folder = thread.ok()?.path();
        if fs::read_to_string(folder.join("comm")).ok()?.trim_end() != NETWORK {
            continue;
        }
        let times = fs::read_to_string(folder.join("schedstat")).ok()?;
        let micros = times.split_whitespace().next()?.parse::<u64>().ok()? / 1_000;
        sum += f64::from(u32::try_from(micros).ok()?) / 1e6; // less than an hour each
    }
    Some(sum)
}

fn process() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the second is a name, which may hold anything
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    Some(f64::from(ticks.next()?.ok()? + ticks.next()?.ok()?) / 100.0)
}
