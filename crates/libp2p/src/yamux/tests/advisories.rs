//! Published remote crashes of other implementations, replayed.

use super::*;

/// rust-yamux: a SYN with more data than the first window made it panic.
#[test]
fn ghsa_vxx9_2994_q338_data_with_syn_beyond_the_first_window() {
    let header = frame(Kind::Data, flag::SYN, 1, WINDOW_MIN + 1);
    assert_eq!(fault_of(std::slice::from_ref(&header)), Some(OVERRUN), "before a byte of it has come");
    let whole = [header, vec![0; WINDOW_MIN as usize + 1]].concat();
    assert_eq!(fault_of(&[whole]), Some(OVERRUN));
    assert_eq!(
        fault_of(&[data(flag::SYN, 1, &vec![0; WINDOW_MIN as usize])]),
        None,
        "the window itself is allowed"
    );
}

/// rust-yamux: credit that overflowed 32 bits made it panic.
#[test]
fn ghsa_4w32_2493_32g7_credit_that_overflows() {
    let most = u32::MAX - WINDOW_MIN;
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, most)]), None);
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, most + 1)]), Some(CREDIT));
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, u32::MAX)]), Some(CREDIT));
    let twice = [frame(Kind::Window, flag::SYN, 1, most), frame(Kind::Window, 0, 1, 1)];
    assert_eq!(fault_of(&twice), Some(CREDIT));
}

/// rust-libp2p: memory of one connection grew with what its peer opened and sent.
#[test]
fn cve_2022_23486_streams_and_bytes_without_end() {
    let config = Config::default();
    let mut yamux = listener(config.clone());
    let mut fault = None;
    for n in 0..10_000_u32 {
        let bytes = data(flag::SYN, 2 * n + 1, &[0; 4096]);
        let room = yamux.room();
        yamux.received(at(0), Bytes::from(bytes[..bytes.len().min(room)].to_vec()));
        assert!(yamux.unread() <= config.unread_max);
        assert!(yamux.open_streams() <= ACK_BACKLOG, "nobody accepted any");
        fault = events(&mut yamux).into_iter().find(|event| matches!(event, Event::Faulted(_))).or(fault);
        if room < bytes.len() {
            return; // the transport stops reading here
        }
    }
    panic!("{fault:?}");
}

/// mina-rust: the window was not enforced, and a frame of 256 MiB was taken.
#[test]
fn a_frame_of_256_mib_is_refused_by_its_header() {
    let open = data(flag::SYN, 1, b"");
    assert_eq!(fault_of(&[open, frame(Kind::Data, 0, 1, 256 * 1024 * 1024)]), Some(OVERRUN));
}

/// mina-rust: the reset of one stream ended the connection.
#[test]
fn a_reset_of_one_stream_leaves_the_others() {
    let mut yamux = listener(Config::default());
    let frames =
        [data(flag::SYN, 1, b"one"), data(flag::SYN, 3, b"two"), frame(Kind::Window, flag::RST, 1, 9)];
    yamux.received(at(0), Bytes::from(frames.concat()));
    assert!(events(&mut yamux).contains(&Event::Reset(1, 9)));
    assert_eq!(read_all(&mut yamux, 3), (b"two".to_vec(), false));
}
