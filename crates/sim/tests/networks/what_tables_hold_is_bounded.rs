//! What pools keep of offers is within what their limits come to, is told, and where it takes more than it may that is seen.

use crate::common;

use weir_sim::TableBound;
use weir_sim::flood::{Flood, pool_of};

#[test]
fn tables_stay_within_their_bound_and_a_smaller_one_is_seen_to_be_broken() {
    let run = |bound: Option<TableBound>| {
        let mut setup = common::setup(12, 6, 7);
        let pool = pool_of(&mut setup.config).unwrap();
        (pool.entries, pool.max_entries, pool.max_grants) = (16, 32, 96);
        let mut flood = Flood::new(setup, common::load(400, 1, 10)).unwrap();
        assert_eq!(flood.net.tables.entries, (32, 96));
        flood.net.tables = bound.unwrap_or(flood.net.tables);
        flood.run();
        assert!(flood.spread().converged.is_some());
        let found = flood.net.found();
        (found.peak_tables, found.peak_over)
    };
    let (most, over) = run(None);
    assert!(most > 10_000 && over == 0, "{most} bytes, {over} too many");
    let narrow = TableBound { link: 1_000, ..TableBound::default() };
    let (same, over) = run(Some(narrow));
    assert_eq!(same, most);
    assert!((1..most).contains(&over), "{over} of {most}");
}
