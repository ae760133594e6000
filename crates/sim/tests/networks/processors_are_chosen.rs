//! A run's options say what processors take: the same network runs otherwise with each of the constants.

use weir_sim::{Options, Processors};

#[test]
fn the_chosen_constants_decide_what_happens_when() {
    let run = |processor| {
        let options = Options {
            nodes: Some(10),
            links: 4,
            seconds: 1,
            rate: Some(20),
            processor,
            ..Options::default()
        };
        let report = weir_sim::run("tx-flood", &options).unwrap();
        assert_eq!(report.problems, [""; 0], "{processor:?}");
        report.trace_hash
    };
    let [machines, native, instant] = Processors::ALL.map(run);
    assert!(machines != native && native != instant && instant != machines);
    assert_eq!(machines, run(Options::default().processor));
}
