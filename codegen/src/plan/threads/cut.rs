//! Minimum cuts of networks.

use std::collections::VecDeque;

/// More than any sum of costs.
pub(super) const NEVER: u64 = u64::MAX / 1024;

/// Nodes on two sides, and what it costs that they are there.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// The cost of each node on the first side, and on the second.
    pub(super) nodes: Vec<(u64, u64)>,
    pub(super) pairs: Vec<Pair>,
}

/// What it costs where two nodes are.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) nodes: [usize; 2],
    /// The cost on different sides.
    pub(super) apart: u64,
    /// The cost of both on the first side, at most twice that.
    pub(super) first: u64,
}

impl Sides {
    /// Which nodes are on the first side where the sum of all costs is the least.
    pub(super) fn best(&self) -> Vec<bool> {
        let mut network = Network::new(self.nodes.len());
        let mut nodes = self.nodes.clone();
        for &Pair {
            nodes: [one, other],
            apart,
            first,
        } in &self.pairs
        {
            // Half of it for each, of which neither is left where they are on different sides.
            let half = (first / 2).min(apart);
            nodes[one].0 = nodes[one].0.saturating_add(half);
            nodes[other].0 = nodes[other].0.saturating_add(half);
            network.arc(one, other, apart - half, apart - half);
        }
        let (source, sink) = (network.source(), network.sink());
        for (node, (first, second)) in nodes.into_iter().enumerate() {
            // What it costs on both sides says nothing about which is better.
            let common = first.min(second);
            network.arc(source, node, (second - common).min(NEVER), 0);
            network.arc(node, sink, (first - common).min(NEVER), 0);
        }
        network.reached()
    }

    /// The sum of all costs.
    pub(super) fn cost(&self, first_side: &[bool]) -> u64 {
        let nodes = self.nodes.iter().zip(first_side);
        let nodes = nodes.map(|(&(first, second), &side)| if side { first } else { second });
        let pairs = self
            .pairs
            .iter()
            .map(|pair| match pair.nodes.map(|node| first_side[node]) {
                [true, true] => pair.first,
                [false, false] => 0,
                _ => pair.apart,
            });
        nodes.chain(pairs).fold(0, u64::saturating_add)
    }
}

/// What can flow between nodes.
#[derive(Debug)]
struct Network {
    /// The arcs that leave each node, the last two of which are source and sink.
    arcs: Vec<Vec<usize>>,
    /// Where each arc leads to, and what it can carry yet. An arc and the one back have numbers that differ in the last bit.
    to: Vec<usize>,
    left: Vec<u64>,
}

impl Network {
    fn new(nodes: usize) -> Network {
        Network {
            arcs: vec![Vec::new(); nodes + 2],
            to: Vec::new(),
            left: Vec::new(),
        }
    }

    fn source(&self) -> usize {
        self.arcs.len() - 2
    }

    fn sink(&self) -> usize {
        self.arcs.len() - 1
    }

    fn arc(&mut self, from: usize, to: usize, there: u64, back: u64) {
        for (from, to, capacity) in [(from, to, there), (to, from, back)] {
            self.arcs[from].push(self.to.len());
            self.to.push(to);
            self.left.push(capacity);
        }
    }

    /// Which nodes the source is connected with when nothing more can flow to the sink: its side of a minimum cut.
    ///
    /// Flow is sent along shortest paths until there is none, after Edmonds and Karp, *Theoretical improvements in
    /// algorithmic efficiency for network flow problems* (1972).
    fn reached(mut self) -> Vec<bool> {
        let (source, sink) = (self.source(), self.sink());
        loop {
            // The arc by which each node was reached.
            let mut by = vec![None; self.arcs.len()];
            let mut queue = VecDeque::from([source]);
            while let (Some(node), None) = (queue.pop_front(), by[sink]) {
                for &arc in &self.arcs[node] {
                    let to = self.to[arc];
                    if self.left[arc] > 0 && to != source && by[to].is_none() {
                        by[to] = Some(arc);
                        queue.push_back(to);
                    }
                }
            }
            if by[sink].is_none() {
                let nodes = self.arcs.len() - 2;
                return by[..nodes].iter().map(Option::is_some).collect();
            }
            let mut path = Vec::new();
            let mut node = sink;
            while let Some(arc) = by[node] {
                path.push(arc);
                node = self.to[arc ^ 1];
            }
            let flow = path.iter().map(|&arc| self.left[arc]).min().unwrap_or(0);
            for arc in path {
                self.left[arc] -= flow;
                self.left[arc ^ 1] += flow;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_sides_cost_less() {
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut mixed = 0;
        for _ in 0..300 {
            let count = 1 + random(8) as usize;
            let nodes = (0..count).map(|_| (random(50), random(50))).collect();
            let pairs = (0..random(14))
                .map(|_| {
                    let nodes = [(); 2].map(|()| random(count as u64) as usize);
                    let first = 2 * random(15);
                    Pair {
                        nodes,
                        apart: first / 2 + random(20),
                        first,
                    }
                })
                .filter(|pair| pair.nodes[0] != pair.nodes[1])
                .collect();
            let sides = Sides { nodes, pairs };
            let best = sides.best();
            let all = (0..1u32 << count).map(|set| (0..count).map(|node| set >> node & 1 == 1).collect::<Vec<_>>());
            let least = all.map(|all| sides.cost(&all)).min();
            assert_eq!(Some(sides.cost(&best)), least, "{sides:?} {best:?}");
            mixed += usize::from(best.contains(&true) && best.contains(&false));
        }
        assert!(mixed > 50, "the costs are too simple: {mixed}");
    }

    #[test]
    fn a_side_that_costs_too_much_is_never_taken() {
        let sides = Sides {
            nodes: vec![(NEVER, 0), (10, 20)],
            pairs: vec![Pair {
                nodes: [0, 1],
                apart: 5,
                first: 0,
            }],
        };
        assert_eq!(sides.best(), [false, true]);
    }
}
