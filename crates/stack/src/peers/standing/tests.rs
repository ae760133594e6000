use weir_base::identity::Keypair;
use weir_base::pair::refused_field;

use super::*;

fn peer(seed: u8) -> PeerId {
    PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public())
}

fn secs(secs: u64) -> Instant {
    Instant::from_millis(secs * 1000)
}

#[test]
fn reactions_rise_with_the_sum_and_the_sum_decays() {
    let mut standing = Standing::new(Config::default());
    for _ in 0..4 {
        assert_eq!(standing.blame(secs(0), peer(1), Blame::Invalid), Reaction::None);
    }
    assert_eq!(standing.share(secs(0), &peer(1)), Share::Quarter);
    assert_eq!(standing.blame(secs(0), peer(1), Blame::Invalid), Reaction::Disconnect);
    assert_eq!(standing.share(secs(1800), &peer(1)), Share::Full);
    assert_eq!(standing.blame(secs(1800), peer(1), Blame::Invalid), Reaction::None);
    standing.blame(secs(1798), peer(1), Blame::Misbehaved);
    let banned = standing.blame(secs(1800), peer(1), Blame::Misbehaved);
    assert_eq!(banned, Reaction::Ban { until: secs(2400) });
    assert!(standing.banned(secs(2399), &peer(1)).is_some());
    assert_eq!(standing.banned(secs(2400), &peer(1)), None);
    assert_eq!(standing.bans(secs(2399)).collect::<Vec<_>>(), [(peer(1), secs(2400))]);
    assert_eq!(standing.bans(secs(2400)).count(), 0);
}

#[test]
fn a_ban_is_not_made_longer_by_what_was_sent_before_it() {
    let mut standing = Standing::new(Config { misbehaved: 100, ..Config::default() });
    let first = standing.blame(secs(0), peer(1), Blame::Misbehaved);
    for later in 0..20 {
        assert_eq!(standing.blame(secs(later), peer(1), Blame::Invalid), first);
        assert_eq!(standing.blame(secs(later), peer(1), Blame::Misbehaved), first);
    }
    assert_eq!(standing.pop_released(secs(600)), Some(peer(1)));
    let second = standing.blame(secs(600), peer(1), Blame::Misbehaved);
    assert_eq!(second, Reaction::Ban { until: secs(1800) }, "the second ban, twice as long");
}

#[test]
fn unreliability_lowers_shares_and_never_bans() {
    let mut standing = Standing::new(Config::default());
    for _ in 0..2_000 {
        assert_eq!(standing.blame(secs(0), peer(1), Blame::Unreliable), Reaction::None);
        assert_eq!(standing.blame(secs(0), peer(2), Blame::Incompatible), Reaction::None);
    }
    assert_eq!(standing.share(secs(0), &peer(1)), Share::Quarter);
    assert_eq!(standing.share(secs(0), &peer(2)), Share::Full);
    assert_eq!(standing.records(secs(0), UnixTime::default()).count(), 1);
}

#[test]
fn bans_double_to_the_cap_and_never_overflow() {
    let mut standing = Standing::new(Config { misbehaved: 100, ..Config::default() });
    let (mut now, mut last) = (secs(0), Duration::ZERO);
    for _ in 0..200 {
        let Reaction::Ban { until } = standing.blame(now, peer(1), Blame::Misbehaved) else {
            panic!("not banned")
        };
        assert!(until.since(now) >= last);
        last = until.since(now);
        now = until;
        assert_eq!(standing.pop_released(now), Some(peer(1)));
    }
    assert_eq!(last, Duration::from_secs(86_400));
}

#[test]
fn a_released_peer_is_not_banned_again_by_one_small_fault() {
    let mut standing = Standing::new(Config { misbehaved: 60, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Misbehaved);
    standing.blame(secs(1), peer(1), Blame::Misbehaved);
    assert_eq!(standing.pop_released(secs(601)), Some(peer(1)));
    assert_eq!(standing.blame(secs(601), peer(1), Blame::Invalid), Reaction::None);
}

#[test]
fn records_survive_a_restart_and_a_clock_that_went_back() {
    let mut standing = Standing::new(Config { misbehaved: 100, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Misbehaved);
    let wall = UnixTime::from_secs(1_000_000);
    let record = standing.record(secs(0), wall, &peer(1)).unwrap();
    assert_eq!(record.banned_until, Some(UnixTime::from_secs(1_000_600)));
    let mut later = Standing::new(Config::default());
    later.restore(secs(0), UnixTime::from_secs(1_000_100), &record);
    assert_eq!(later.banned(secs(0), &peer(1)), Some(secs(500)));
    later.restore(secs(0), UnixTime::from_secs(0), &record);
    assert_eq!(later.banned(secs(0), &peer(1)), Some(secs(86_400)), "never longer than the longest ban");
}

#[test]
fn the_table_is_bounded_and_keeps_the_worst() {
    let mut standing = Standing::new(Config { max_peers: 2, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Misbehaved);
    standing.blame(secs(0), peer(2), Blame::Unreliable);
    standing.blame(secs(0), peer(3), Blame::Invalid);
    let left: Vec<_> = standing.records(secs(0), UnixTime::default()).map(|record| record.peer).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&peer(1)) && left.contains(&peer(3)));
}

#[test]
fn another_fault_of_a_peer_in_a_full_table_costs_nobody_its_place() {
    let mut standing = Standing::new(Config { max_peers: 2, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Unreliable);
    standing.blame(secs(0), peer(2), Blame::Invalid);
    standing.blame(secs(0), peer(2), Blame::Invalid);
    let left = standing.records(secs(0), UnixTime::default()).map(|record| record.lapses + record.wrongs);
    assert_eq!(left.sum::<u64>(), 21_000);
}

#[test]
fn each_limit_is_checked_at_its_bound() {
    let field = |change: fn(&mut Config)| refused_field(Config::default(), Config::validate, change);
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|config| config.half_life = Duration::ZERO), Some("half_life"));
    assert_eq!(field(|config| config.lower = 0), Some("lower"));
    assert_eq!(field(|config| config.lower = 51), Some("lower"));
    assert_eq!(field(|config| config.disconnect = 101), Some("disconnect"));
    assert_eq!(field(|config| (config.lower, config.disconnect) = (100, 100)), None);
    assert_eq!(field(|config| config.ban_prefix = 99), Some("ban_prefix"));
    assert_eq!(field(|config| config.ban_prefix = 100), None);
    assert_eq!(field(|config| config.ban_time = Duration::ZERO), Some("ban_time"));
    assert_eq!(field(|config| config.ban_time = config.ban_time_max), None);
    let longer = |config: &mut Config| config.ban_time = config.ban_time_max + Duration::from_secs(1);
    assert_eq!(field(longer), Some("ban_time"));
    assert_eq!(field(|config| config.max_peers = 0), Some("max_peers"));
}

#[test]
fn a_share_is_so_many_quarters() {
    assert_eq!([Share::Quarter, Share::Half, Share::Full].map(Share::quarters), [1, 2, 4]);
}

#[test]
fn a_share_is_halved_at_the_bound_and_quartered_at_twice_as_much() {
    let mut standing = Standing::new(Config::default());
    let shares: Vec<Share> = (0..20)
        .map(|_| {
            standing.blame(secs(0), peer(1), Blame::Unreliable);
            standing.share(secs(0), &peer(1))
        })
        .collect();
    assert_eq!(
        (shares[8], shares[9], shares[18], shares[19]),
        (Share::Full, Share::Half, Share::Half, Share::Quarter)
    );
}

#[test]
fn a_ban_that_is_over_to_the_instant_judges_anew() {
    let mut standing = Standing::new(Config { misbehaved: 100, ..Config::default() });
    assert_eq!(standing.blame(secs(0), peer(1), Blame::Misbehaved), Reaction::Ban { until: secs(600) });
    assert_eq!(standing.next_release(), Some(secs(600)));
    assert_eq!(standing.blame(secs(600), peer(1), Blame::Misbehaved), Reaction::Ban { until: secs(1_800) });
    standing.unban(secs(601), peer(1));
    assert_eq!((standing.banned(secs(601), &peer(1)), standing.next_release()), (None, None));
    let record = standing.record(secs(601), UnixTime::default(), &peer(1)).unwrap();
    assert_eq!((record.wrongs, record.bans), (25_000, 2), "half of what disconnects");
}

#[test]
fn a_ban_is_kept_to_its_last_instant_and_not_longer() {
    let mut standing = Standing::new(Config { misbehaved: 100, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Misbehaved);
    let kept = |at| standing.record(at, UnixTime::from_secs(9), &peer(1)).unwrap().banned_until;
    let last = secs(600) - Duration::from_nanos(1);
    assert_eq!((kept(last).is_some(), kept(secs(600))), (true, None));
}

#[test]
fn a_sum_is_forgotten_below_a_tenth_of_a_point() {
    let entry = |wrongs, lapses, banned_until| Entry { wrongs, lapses, at: secs(0), bans: 0, banned_until };
    assert!(entry(99, 99, None).is_forgotten());
    assert!(!entry(100, 99, None).is_forgotten() && !entry(99, 100, None).is_forgotten());
    assert!(!entry(0, 0, Some(secs(1))).is_forgotten());
}

#[test]
fn what_is_forgotten_makes_room_before_anybody_else_has_to_go() {
    let mut standing = Standing::new(Config { max_peers: 3, ..Config::default() });
    standing.blame(secs(0), peer(1), Blame::Unreliable);
    standing.blame(secs(0), peer(2), Blame::Invalid);
    standing.blame(secs(3_000), peer(3), Blame::Invalid);
    standing.blame(secs(3_000), peer(4), Blame::Invalid); // of one point a thirty-second is left
    let left: Vec<_> = standing.records(secs(3_000), UnixTime::default()).map(|record| record.peer).collect();
    assert_eq!(left.len(), 3);
    assert!([2, 3, 4].iter().all(|seed| left.contains(&peer(*seed))));
}

#[test]
fn of_twice_as_many_peers_as_are_remembered_changes_are_kept() {
    let mut standing = Standing::new(Config { max_peers: 3, ..Config::default() });
    for seed in 1..=9 {
        standing.blame(secs(0), peer(seed), Blame::Invalid);
    }
    let told = std::iter::from_fn(|| standing.pop_changed(secs(0), UnixTime::default())).count();
    assert_eq!((told, standing.has_changed()), (6, false));
}

#[test]
fn a_sum_decays_by_a_straight_line_within_a_half_life() {
    let half_life = Duration::from_secs(600);
    let after = |secs| halved(1_000, Duration::from_secs(secs), half_life);
    assert_eq!([0, 300, 600, 900, 1_200].map(after), [1_000, 750, 500, 375, 250]);
    assert_eq!(halved(u64::MAX, Duration::MAX, half_life), 0);
}
