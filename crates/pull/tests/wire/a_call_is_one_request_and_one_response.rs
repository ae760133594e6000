use weir_base::pair::Pipe;
use weir_pull::call;

use crate::common::*;

#[test]
fn the_request_may_share_the_first_flight() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    let ticket = request(&mut pair.a, at(0), "ping").unwrap();
    pair.run_until(at(50));
    let call::Event::Request { ticket: asked, request, .. } = calls(&mut pair.b).remove(0) else { panic!() };
    assert_eq!(request, "ping");
    answer(&mut pair.b, pair.now, asked, Ok("pong".into())).unwrap();
    pair.run_until(at(100));
    assert_eq!(calls(&mut pair.a), [call::Event::Response { ticket, result: Ok("pong".into()) }]);
    assert_eq!(pair.faults, []);
}
