use super::*;

#[test]
fn the_defaults_fit() {
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn a_total_that_cannot_hold_the_base_windows_is_named() {
    let mut config = Config::default();
    config.admission.max_links = 2000;
    let error = config.check().unwrap_err();
    assert_eq!(error.path(), "budget.receive_total");
    assert!(error.remedy().contains("at least"), "{error}");
}

#[test]
fn a_node_to_which_nobody_could_connect_is_refused_at_start() {
    let mut config = Config::default();
    config.admission.handshakes_per_link = 0;
    assert_eq!(config.check().unwrap_err().path(), "admission.handshakes_per_link");
}

#[test]
fn a_message_larger_than_what_can_be_reserved_is_refused_at_start() {
    let mut config = Config::default();
    config.budget.largest_message = config.budget.receive_total;
    assert_eq!(config.check().unwrap_err().path(), "budget.receive_total");
}

#[test]
fn a_sign_of_life_that_would_come_too_late_is_refused() {
    for (idle, alive, field) in [
        (30, 30, "quic.keep_alive"),
        (30, 0, "quic.keep_alive"),
        (0, 0, "quic.idle_timeout"),
        (9999, 1, "quic.idle_timeout"),
    ] {
        let mut config = Config::default();
        config.quic.idle_timeout = Duration::from_secs(idle);
        config.quic.keep_alive = Duration::from_secs(alive);
        assert_eq!(config.check().unwrap_err().path(), field);
    }
}

#[test]
fn a_name_of_yamux_cannot_be_one_of_mplex_too() {
    let mut config = Config::default();
    config.tcp.mplex = vec!["/mplex/6.7.0".to_owned()];
    assert_eq!(config.check(), Ok(()));
    config.tcp.mplex.extend(config.tcp.yamux.clone());
    assert_eq!(config.check().unwrap_err().path(), "tcp.mplex");
}

#[test]
fn a_node_that_could_dial_nobody_is_refused_at_start() {
    let refused = |change: fn(&mut DialConfig)| {
        let mut config = Config::default();
        change(&mut config.dial);
        config.check().err().map(|error| error.path())
    };
    assert_eq!(refused(|dial| dial.timeout = Duration::from_nanos(1)), None);
    assert_eq!(refused(|dial| dial.timeout = Duration::ZERO).as_deref(), Some("dial.timeout"));
    assert_eq!(refused(|dial| (dial.max_dials, dial.max_addresses) = (1, 1)), None);
    assert_eq!(refused(|dial| dial.max_dials = 0).as_deref(), Some("dial.max_dials"));
    assert_eq!(refused(|dial| dial.max_addresses = 0).as_deref(), Some("dial.max_addresses"));
}
