//! Many processes at once.

use std::fs::File;
use std::thread;

use test_support::Puppet;

use crate::case;
use crate::tested_type::{TestedType, assert_permits};

case!(EveryType, three_permits_admit_three_at_most);

fn three_permits_admit_three_at_most(tested: &TestedType) {
    assert_eq!(most_at_once(tested, 3), 3);
}

case!(EveryType, same_measurement_of_four_permits_sees_four);

/// That the test above would see a fourth.
fn same_measurement_of_four_permits_sees_four(tested: &TestedType) {
    assert_eq!(most_at_once(tested, 4), 4);
}

/// 32 processes acquire and release 1,000 times each; how many were inside at once, at most, as counted in shared
/// memory.
fn most_at_once(tested: &TestedType, permits: u32) -> u32 {
    let semaphore = tested.create("s", permits);
    let counters = tested.path("counters");
    File::create(&counters).and_then(|file| file.set_len(8)).expect("a file can be made");
    let mut puppets: Vec<Puppet> = (0..32).map(|_| tested.puppet("s")).collect();
    for puppet in &mut puppets {
        puppet.send(&format!("count-concurrent\ts\t1000\t{counters}"));
    }
    let mosts = puppets.iter_mut().map(|puppet| puppet.answer().expect("all goes well"));
    let most = mosts.map(|most| most.parse().expect("a number")).max().expect("there are 32");
    for puppet in puppets {
        puppet.exit();
    }
    assert_permits(&semaphore, permits, 0);
    std::fs::remove_file(counters).expect("it was made here");
    most
}

case!(EveryType, hundred_thousand_items_pass);

/// A producer and a consumer over a ring of 1,000 places. Qt stops here on System V, with "out of resources" after
/// 32,767 items.
fn hundred_thousand_items_pass(tested: &TestedType) {
    let (free_places, used_places) = (tested.create("free", 1000), tested.create("used", 0));
    let mut sides = [Puppet::of_this_program(), Puppet::of_this_program()];
    for side in &mut sides {
        for name in ["free", "used"] {
            side.must(&format!("open\t{name}\t{}\t0\tOpenExisting", tested.key(name)));
        }
    }
    let [producer, consumer] = &mut sides;
    thread::scope(|scope| {
        scope.spawn(|| producer.must("pass\tfree\tused\t100000"));
        scope.spawn(|| consumer.must("pass\tused\tfree\t100000"));
    });
    for side in sides {
        side.exit();
    }
    assert_permits(&free_places, 1000, 0);
    assert_permits(&used_places, 0, 0);
}
