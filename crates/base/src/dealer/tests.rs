use std::collections::BTreeMap;

use super::*;

const NET: [Group; 3] = [Group::V4([10, 1]), Group::V4([10, 2]), Group::V4([10, 3])];

/// Serves `turns` times at each member's own cost, all having work all the time; what each was given.
fn serve(dealer: &mut Dealer<u32>, turns: usize, cost: impl Fn(u32) -> u64) -> BTreeMap<u32, u64> {
    let mut given = BTreeMap::new();
    for _ in 0..turns {
        let member = dealer.whose_turn().unwrap();
        dealer.charge(member, cost(member));
        *given.entry(member).or_insert(0) += cost(member);
    }
    given
}

fn busy(members: &[(u32, Side, Group)]) -> Dealer<u32> {
    let mut dealer = Dealer::new(10, 10_000);
    for &(member, side, group) in members {
        dealer.add(member, side, group);
        dealer.set_waiting(member, true);
    }
    dealer
}

#[test]
fn one_own_link_keeps_half_against_450_inbound_ones() {
    let mut members = vec![(0, Side::Dialled, NET[0])];
    members.extend((1..=450).map(|n| (n, Side::Inbound, Group::Local(n))));
    let given = serve(&mut busy(&members), 20_000, |_| 7);
    let (own, all) = (given[&0], given.values().sum::<u64>());
    assert!(own * 100 >= all * 49 && own * 100 <= all * 51, "{own} of {all}");
}

#[test]
fn a_pinned_link_counts_as_own() {
    let given = serve(
        &mut busy(&[(0, Side::Pinned, NET[0]), (1, Side::Inbound, NET[0]), (2, Side::Inbound, NET[1])]),
        1_000,
        |_| 10,
    );
    assert_eq!(given[&0], 5_000);
}

#[test]
fn inbound_groups_share_equally_whatever_their_size() {
    let mut members = vec![(0, Side::Inbound, NET[0])];
    members.extend((1..=99).map(|n| (n, Side::Inbound, NET[1])));
    let given = serve(&mut busy(&members), 20_000, |_| 10);
    let all = given.values().sum::<u64>();
    assert!(given[&0] * 100 >= all * 49 && given[&0] * 100 <= all * 51);
}

#[test]
fn links_of_a_group_share_by_cost_not_by_turns() {
    let given =
        serve(&mut busy(&[(0, Side::Inbound, NET[0]), (1, Side::Inbound, NET[0])]), 20_000, |member| {
            if member == 0 { 1 } else { 50 }
        });
    assert!(given[&0].abs_diff(given[&1]) < 100, "{given:?}");
}

#[test]
fn a_side_without_work_leaves_its_half() {
    let mut dealer = busy(&[(0, Side::Dialled, NET[0]), (1, Side::Inbound, NET[1])]);
    dealer.set_waiting(0, false);
    assert_eq!(serve(&mut dealer, 100, |_| 10), [(1, 1_000)].into());
    dealer.set_waiting(1, false);
    assert_eq!(dealer.whose_turn(), None);
}

/// Serves `member` at 10 a turn while it is its turn, and says how much that was. A deficit that is not bounded would let this
/// go on for ever: it ends at 20,000.
fn serve_while(dealer: &mut Dealer<u32>, member: u32) -> u64 {
    let mut given = 0;
    while given < 20_000 && dealer.whose_turn() == Some(member) {
        dealer.charge(member, 10);
        given += 10;
    }
    given
}

#[test]
fn an_emptied_queue_keeps_its_debt_and_loses_its_credit() {
    let mut dealer = busy(&[(0, Side::Inbound, NET[0]), (1, Side::Inbound, NET[0])]);
    // 0 takes 1,000 at once and goes idle: when it returns, 1 is served about as much before it.
    serve_while(&mut dealer, 1);
    assert_eq!(dealer.whose_turn(), Some(0));
    dealer.charge(0, 1_000);
    dealer.set_waiting(0, false);
    dealer.set_waiting(0, true);
    let before = serve_while(&mut dealer, 1);
    assert!((900..=1_100).contains(&before), "{before}");
    // Idle while 1 works: no credit is saved up.
    dealer.set_waiting(0, false);
    for _ in 0..1_000 {
        assert_eq!(dealer.whose_turn(), Some(1));
        dealer.charge(1, 10);
    }
    dealer.set_waiting(0, true);
    let given = serve(&mut dealer, 100, |_| 10);
    assert!(given[&0].abs_diff(given[&1]) <= 20, "{given:?}");
}

#[test]
fn a_debt_is_bounded_on_each_level() {
    let (own, inbound) = (Side::Dialled, Side::Inbound);
    for others in [(inbound, NET[0]), (inbound, NET[1]), (own, NET[1])] {
        let mut dealer = busy(&[(0, inbound, NET[0]), (1, others.0, others.1)]);
        dealer.charge(0, u64::MAX);
        let before = serve_while(&mut dealer, 1);
        assert!((9_000..=11_000).contains(&before), "{before} with {others:?}");
    }
}

#[test]
fn where_all_are_in_debt_one_is_served_at_once() {
    let mut dealer = busy(&[(0, Side::Inbound, NET[0]), (1, Side::Inbound, NET[0])]);
    dealer.charge(0, 9_000);
    dealer.charge(1, 8_000);
    assert_eq!(dealer.whose_turn(), Some(1));
    dealer.charge(1, 1_500);
    assert_eq!(dealer.whose_turn(), Some(0));
}

#[test]
fn parts_follow_the_same_levels() {
    let mut dealer =
        busy(&[(1, Side::Inbound, NET[0]), (2, Side::Inbound, NET[0]), (3, Side::Inbound, NET[1])]);
    assert_eq!([1, 2, 3, 9].map(|member| dealer.part(member, 1_000)), [125, 125, 250, 0]);
    dealer.add(0, Side::Pinned, NET[2]);
    assert_eq!([0, 1, 2, 3].map(|member| dealer.part(member, 1_000)), [500, 125, 125, 250]);
    dealer.remove(3);
    assert_eq!(dealer.part(1, 1_000), 250);
    assert_eq!(dealer.members(), 3);
}

#[test]
fn who_left_is_neither_served_nor_charged() {
    let mut dealer = busy(&[(0, Side::Dialled, NET[0]), (1, Side::Inbound, NET[1])]);
    dealer.remove(0);
    dealer.charge(0, 100);
    dealer.set_waiting(0, true);
    assert_eq!(dealer.whose_turn(), Some(1));
    dealer.remove(1);
    assert!(dealer.whose_turn().is_none() && dealer.members() == 0);
}

#[test]
fn a_lowered_share_is_that_part_of_what_its_equals_get() {
    let mut dealer = Dealer::new(100, 10_000);
    for member in 0..3_u8 {
        dealer.add(member, Side::Dialled, Group::Local(0));
        dealer.set_waiting(member, true);
    }
    dealer.set_share(1, 2);
    dealer.set_share(2, 1);
    assert_eq!((dealer.part(0, 1200), dealer.part(1, 1200), dealer.part(2, 1200)), (200, 100, 50));
    let mut served = [0_u32; 3];
    for _ in 0..7_000 {
        let member = dealer.whose_turn().unwrap();
        served[usize::from(member)] += 1;
        dealer.charge(member, 100);
    }
    assert!(served[0].abs_diff(4_000) < 50, "{served:?}");
    assert!(served[1].abs_diff(2_000) < 50, "{served:?}");
    assert!(served[2].abs_diff(1_000) < 50, "{served:?}");
    dealer.set_share(2, 4);
    assert_eq!(dealer.part(2, 1200), 200);
}

#[test]
fn who_owes_alone_waits_for_its_equals_while_its_group_and_side_lose_nothing() {
    let (own, inbound) = (Side::Dialled, Side::Inbound);
    for others in [(inbound, NET[0]), (own, NET[0])] {
        let mut dealer = busy(&[(0, others.0, others.1), (1, others.0, others.1)]);
        dealer.charge_alone(0, 1_000);
        let before = serve_while(&mut dealer, 1);
        assert!((900..=1_100).contains(&before), "{before}");
    }
    for others in [(inbound, NET[1]), (own, NET[1])] {
        let mut dealer = busy(&[(0, inbound, NET[0]), (1, others.0, others.1)]);
        dealer.charge_alone(0, 1_000);
        let given = serve(&mut dealer, 100, |_| 10);
        assert_eq!((given[&0], given[&1]), (500, 500));
    }
}

#[test]
fn what_a_group_owes_its_members_and_its_side_do_not() {
    let (own, inbound) = (Side::Dialled, Side::Inbound);
    let mut dealer =
        busy(&[(0, inbound, NET[0]), (1, inbound, NET[0]), (2, inbound, NET[1]), (3, own, NET[2])]);
    dealer.charge_group(0, 1_000);
    dealer.charge_group(3, 1_000); // in no group of the inbound side
    let given = serve(&mut dealer, 200, |_| 10);
    assert_eq!((given.get(&0), given.get(&1), given[&2], given[&3]), (None, None, 1_000, 1_000));
    let given = serve(&mut dealer, 400, |_| 10);
    assert_eq!((given[&0], given[&1], given[&2], given[&3]), (500, 500, 1_000, 2_000));
}

#[test]
fn of_equals_the_one_served_least_recently_is_next() {
    let mut dealer = busy(&[0, 1, 2].map(|member| (member, Side::Inbound, NET[0])));
    let mut turns = Vec::new();
    for _ in 0..6 {
        let member = dealer.whose_turn().unwrap();
        dealer.charge(member, 0);
        turns.push(member);
    }
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn without_a_quantum_who_asks_for_less_than_its_share_is_next() {
    let mut dealer = Dealer::new(0, 1_000_000);
    for link in 0..20 {
        dealer.add(link, Side::Inbound, Group::Local(0));
        dealer.set_waiting(link, link > 0);
    }
    for _ in 0..50 {
        for _ in 0..20 {
            let link = dealer.whose_turn().unwrap();
            assert_ne!(link, 0);
            dealer.charge(link, 100);
        }
        dealer.set_waiting(0, true);
        assert_eq!(dealer.whose_turn(), Some(0));
        dealer.charge(0, 10);
        dealer.set_waiting(0, false);
    }
}

#[test]
fn who_is_passed_over_keeps_its_place() {
    let mut dealer = Dealer::new(0, 10_000);
    for (member, group) in [(0, NET[0]), (1, NET[1]), (2, NET[2]), (3, NET[0])] {
        dealer.add(member, Side::Inbound, group);
        dealer.set_waiting(member, true);
    }
    dealer.add(4, Side::Dialled, NET[0]);
    dealer.set_waiting(4, true);
    for (member, cost) in [(0, 300), (1, 100), (2, 200), (3, 0), (4, 900)] {
        dealer.charge(member, cost);
    }
    for _ in 0..3 {
        assert_eq!(
            dealer.in_turn().collect::<Vec<_>>(),
            [1, 2, 3, 0, 4],
            "inbound has had less; its groups in order"
        );
    }
    dealer.set_waiting(1, false);
    assert_eq!(dealer.whose_turn(), dealer.in_turn().next());
}

#[test]
fn who_asks_for_little_is_first_as_long_as_its_credit_lasts() {
    let mut dealer = Dealer::new(0, 10_000).with_credit(50);
    for member in 0..20 {
        dealer.add(member, Side::Inbound, NET[0]);
        dealer.set_waiting(member, member > 0);
    }
    serve(&mut dealer, 19 + 5, |_| 100); // a round, and five of the next: fourteen stand where the highest does
    let ask = |dealer: &mut Dealer<u32>| {
        dealer.set_waiting(0, true);
        let first = dealer.whose_turn() == Some(0);
        dealer.charge(0, 10);
        dealer.set_waiting(0, false);
        first
    };
    let times = (0..20).take_while(|_| ask(&mut dealer)).count();
    assert_eq!(times, 5, "50 in all, then those come first that have not had their turn");
}

#[test]
fn what_nobody_used_is_taken_off_what_members_owe_beyond_their_credit() {
    let mut dealer = Dealer::new(0, 10_000).with_credit(100);
    for (member, side) in [(0, Side::Dialled), (1, Side::Inbound), (2, Side::Inbound), (3, Side::Inbound)] {
        dealer.add(member, side, NET[0]);
    }
    (1..4).for_each(|member| _ = dealer.set_waiting(member, true));
    dealer.charge(0, 1_000);
    dealer.charge(3, 2_000);
    dealer.set_waiting(0, true);
    let until = |dealer: &mut Dealer<u32>, member| {
        (0..1_000)
            .find(|_| {
                let next = dealer.whose_turn().unwrap();
                dealer.charge(next, 10);
                next == member
            })
            .unwrap()
    };

    let mut as_it_is = dealer.clone();
    assert_eq!(until(&mut as_it_is, 0), 0, "the other side owes more");
    dealer.charge(0, 5_000);
    let mut as_it_is = dealer.clone();
    let before = until(&mut as_it_is, 0);
    assert!((390..410).contains(&before), "4,000 more: {before}");

    let mut half = dealer.clone();
    half.leave_over(3_000); // of 1,500 for each side, the inbound one takes 1,500 off 2,000
    let before = until(&mut half, 0);
    assert!((390..410).contains(&before), "both took as much off: {before}");

    dealer.leave_over(20_000); // more than anybody owes
    let before = until(&mut dealer, 0);
    assert!(before <= 1, "each side owes its credit: {before}");
    let before = until(&mut dealer, 3);
    assert!(
        (30..50).contains(&before),
        "after 100 of two others, and as many turns of the other side: {before}"
    );
}

#[test]
fn a_group_of_one_has_memory_for_one_that_waits() {
    let mut dealer = busy(&[(1, Side::Inbound, NET[0])]);
    dealer.set_waiting(1, false);
    dealer.set_waiting(1, true);
    let capacities: Vec<_> = dealer.inbound.iter().map(|(_, level)| level.waiting.capacity()).collect();
    assert_eq!(capacities, [1]);
}
