//! What a node's turns take on this machine, measured: the constants of [`Processor`].
//!
//! [`Calibration::of`] divides the processor time of several loads among the turns, packets and bytes of each by least squares.
//! [`calibrate`] runs such loads in virtual time with processors that take no time, and measures the whole process. So its constants
//! hold what the simulator takes beside its nodes, which is little, and not what a native host's system calls take: those are in the
//! constants of `cargo xtask calibrate`, which measures the network threads of real nodes as well.

use std::time::Duration;

use weir_stack::ConfigError;

use crate::dials::Dials;
use crate::flood::{Flood, Load, pool_channel, pool_of};
use crate::host::Work;
use crate::model::{Model, Place, Processor};
use crate::network::{Setup, Transport};
use crate::report::processor_time;

/// The constants found, and how well they explain what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Of each turn, in microseconds.
    pub turn: f64,
    /// Of each frame or datagram, in microseconds.
    pub packet: f64,
    /// Of each 1,000 bytes, in microseconds.
    pub kilobyte: f64,
    /// The largest error over the loads, as a share of the time measured.
    pub error: f64,
}

/// One load: what it had to do, and what that took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What all nodes had to do.
    pub work: Work,
    /// Seconds of processor time.
    pub seconds: f64,
}

impl Calibration {
    /// The constants, at least 0, that explain the samples best, each sample counting the same whatever its size. `None` where no
    /// constants do: there are no samples of more than no time, or none that differ.
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let mut rows: Vec<[f64; 4]> = Vec::new();
        for Sample { work, seconds } in samples.iter().filter(|sample| sample.seconds > 0.0) {
            let [turns, packets, kilobytes] =
                [work.turns as f64, work.packets as f64, work.bytes as f64 / 1e3]
                    .map(|count| count / seconds / 1e6);
            rows.push([turns, packets, kilobytes, 1.0]);
        }
        // a constant below 0 explains nothing: of all choices of constants that are not 0 the best without one below 0
        let choices = (1..8_u32).filter_map(|chosen| {
            let found = least_squares(&rows, chosen)?;
            let error =
                |row: &[f64; 4]| (row[0] * found[0] + row[1] * found[1] + row[2] * found[2] - 1.0).abs();
            let all = rows.iter().map(|row| error(row).powi(2)).sum::<f64>();
            let worst = rows.iter().map(error).fold(0.0, f64::max);
            found.iter().all(|constant| *constant >= 0.0).then_some((all, found, worst))
        });
        let (_, [turn, packet, kilobyte], error) = choices.min_by(|one, other| one.0.total_cmp(&other.0))?;
        Some(Self { turn, packet, kilobyte, error })
    }

    /// Microseconds that so much work takes by these constants.
    pub fn micros(&self, work: Work) -> f64 {
        let Work { turns, packets, bytes } = work;
        turns as f64 * self.turn + packets as f64 * self.packet + bytes as f64 / 1e3 * self.kilobyte
    }
}

/// Transactions per second, and the mean delay of offers: many small packets, many turns, and many bytes a packet.
const LOADS: [(u32, u64); 4] = [(20, 0), (100, 100), (500, 20), (1_500, 400)];

/// Nodes and links of each load.
const NODES: u32 = 24;
const LINKS: u32 = 10;
/// Virtual seconds of a load.
const SECONDS: u32 = 20;

/// Measures nodes over this transport; half a minute on an idle machine. `None` where the system does not tell what processor
/// time a process takes.
///
/// # Errors
/// [`ConfigError`]: none of this configuration.
pub fn calibrate(transport: Transport) -> Result<Option<Calibration>, ConfigError> {
    let mut samples = Vec::new();
    for (rate, delay) in LOADS {
        let Some(sample) = measure(transport, rate, Duration::from_millis(delay))? else { return Ok(None) };
        samples.push(sample);
    }
    Ok(Calibration::of(&samples))
}

fn measure(transport: Transport, rate: u32, delay: Duration) -> Result<Option<Sample>, ConfigError> {
    let mut setup = Setup::new(NODES, LINKS, 1, vec![pool_channel()]);
    (setup.transport, setup.dials) = (transport, Dials::OneEnd); // no link that has to end is measured
    setup.place = |_, _| Place::NEAR;
    setup.model = Model { processor: Processor::INSTANT, ..Model::default() };
    if let Some(pool) = pool_of(&mut setup.config) {
        pool.offer_delay = delay;
    }
    let mut flood = Flood::new(setup, Load { rate, seconds: SECONDS, ..Load::default() })?;
    flood.net.host.sample(u32::MAX); // the checker's time is not the nodes'
    flood.net.link_up();
    let (begun, before) = (processor_time(), flood.net.host.work());
    flood.start();
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(flood.deadline()) else { break };
        flood.advance(step, &mut |_, _, _| {});
    }
    let work = flood.net.host.work().since(before);
    Ok(begun.zip(processor_time()).map(|(begun, ended)| Sample { work, seconds: ended - begun }))
}

/// Solves the normal equations for the constants whose bits are set, the others being 0 (Gauss and Jordan, with pivots).
fn least_squares(rows: &[[f64; 4]], chosen: u32) -> Option<[f64; 3]> {
    let mut normal = [[0.0; 4]; 3];
    for (at, line) in normal.iter_mut().enumerate() {
        if chosen >> at & 1 == 0 {
            line[at] = 1.0;
            continue;
        }
        for (to, sum) in line.iter_mut().enumerate() {
            if to == 3 || chosen >> to & 1 == 1 {
                *sum = rows.iter().map(|row| row[at] * row[to]).sum();
            }
        }
    }
    for column in 0..3 {
        let pivot = (column..3)
            .max_by(|one, other| normal[*one][column].abs().total_cmp(&normal[*other][column].abs()))?;
        normal.swap(column, pivot);
        let divisor = normal[column][column];
        if divisor.abs() < 1e-12 {
            return None;
        }
        normal[column].iter_mut().for_each(|value| *value /= divisor);
        let line = normal[column];
        for (at, other) in normal.iter_mut().enumerate().filter(|(at, _)| *at != column) {
            let factor = other[column];
            debug_assert!(at != column);
            other.iter_mut().zip(line).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    Some([normal[0][3], normal[1][3], normal[2][3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(turns: u64, packets: u64, bytes: u64, constants: [f64; 3]) -> Sample {
        let [turn, packet, kilobyte] = constants;
        let micros = turns as f64 * turn + packets as f64 * packet + bytes as f64 / 1e3 * kilobyte;
        Sample { work: Work { turns, packets, bytes }, seconds: micros / 1e6 }
    }

    #[test]
    fn the_constants_that_made_the_samples_are_found() {
        let sizes = [(1_000, 9_000, 4_000_000), (50_000, 60_000, 9_000_000), (3_000, 90_000, 1_000_000)];
        let samples = sizes.map(|(turns, packets, bytes)| sample(turns, packets, bytes, [5.0, 2.0, 1.0]));
        let found = Calibration::of(&samples).unwrap();
        let close = |one: f64, other: f64| (one - other).abs() < 1e-6;
        assert!(
            close(found.turn, 5.0) && close(found.packet, 2.0) && close(found.kilobyte, 1.0),
            "{found:?}"
        );
        assert!(found.error < 1e-6);
        assert!(samples.iter().all(|sample| close(found.micros(sample.work), sample.seconds * 1e6)));
    }

    #[test]
    fn no_constant_is_below_zero() {
        let mut samples: Vec<Sample> =
            [(1_000, 9_000, 4_000_000), (50_000, 60_000, 9_000_000), (3_000, 90_000, 1_000_000)]
                .map(|(turns, packets, bytes)| sample(turns, packets, bytes, [5.0, 2.0, -0.5]))
                .to_vec();
        samples.push(sample(9_000, 9_000, 9_000, [5.0, 2.0, 0.0]));
        let found = Calibration::of(&samples).unwrap();
        assert!(found.kilobyte == 0.0 && found.turn > 0.0 && found.packet > 0.0, "{found:?}");
        assert!(found.error > 0.01, "and that does not explain all");
        assert!(Calibration::of(&[]).is_none());
    }

    #[test]
    fn a_load_is_measured() {
        let sample = measure(Transport::Frames, 20, Duration::ZERO).unwrap().unwrap();
        let Work { turns, packets, bytes } = sample.work;
        assert!(
            turns > 1_000 && packets > turns / 2 && bytes > 100_000 && sample.seconds > 0.0,
            "{sample:?}"
        );
    }
}
