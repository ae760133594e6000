//! Random transactions at random nodes until every pool holds all of them.

use super::{Measured, Run, RunError};
use crate::flood::{Flood, Load, pool_channel};

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let options = run.options;
    let setup = run.setup(run.nodes, options.links, vec![pool_channel()]);
    let load = Load {
        rate: options.rate.unwrap_or(Load::default().rate),
        seconds: options.seconds,
        deadline: options.deadline(),
        ..Load::default()
    };
    let mut flood = Flood::new(setup, load)?;
    flood.run_in_windows();
    let (spread, problems) = (flood.spread(), flood.problems());
    Ok(Measured { spread, problems, ..Measured::of(flood.net) })
}
