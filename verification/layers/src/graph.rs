//! Cycles in a directed graph.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the sets of nodes that all reach each other (strongly connected components of two nodes
/// and more).
pub(crate) fn cycles(edges: &BTreeSet<(usize, usize)>) -> BTreeSet<BTreeSet<usize>> {
    let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(*from).or_default().push(*to);
    }
    let reachable = |from: usize| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            open.extend(next.get(&node).into_iter().flatten().filter(|to| reached.insert(**to)));
        }
        reached
    };
    let reach: BTreeMap<usize, BTreeSet<usize>> = next.keys().map(|node| (*node, reachable(*node))).collect();
    let reaches = |from: usize, to: usize| reach.get(&from).is_some_and(|reached| reached.contains(&to));
    let component = |node: usize| -> BTreeSet<usize> {
        reach[&node].iter().copied().filter(|other| reaches(*other, node)).collect()
    };
    reach.keys().filter(|node| reaches(**node, **node)).map(|node| component(*node)).collect()
}

#[cfg(test)]
mod tests {
    use super::cycles;

    fn found(edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let edges = edges.iter().copied().collect();
        cycles(&edges).into_iter().map(|cycle| cycle.into_iter().collect()).collect()
    }

    #[test]
    fn a_diamond_has_no_cycle() {
        assert_eq!(found(&[(0, 1), (0, 2), (1, 3), (2, 3)]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn two_nodes_that_reach_each_other_are_a_cycle() {
        assert_eq!(found(&[(0, 1), (1, 2), (2, 1), (2, 3)]), [[1, 2]]);
    }

    #[test]
    fn cycles_with_a_common_node_are_one() {
        assert_eq!(found(&[(0, 1), (1, 0), (1, 2), (2, 1)]), [[0, 1, 2]]);
    }

    #[test]
    fn separate_cycles_are_two() {
        assert_eq!(found(&[(0, 1), (1, 0), (1, 2), (2, 3), (3, 2)]), [[0, 1], [2, 3]]);
    }
}
