//! Whose turn it is.

/// Rounds of the same moves, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase<M> {
    /// How often they are made.
    pub rounds: u64,
    /// The moves of a round, in their order.
    pub moves: Vec<M>,
}

/// The moves of a whole game: a pure function of their number, so that a game goes on from the count of its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Moves<M>(Vec<Phase<M>>);

/// Every kind of move once, in the order in which they come: what a rehearsal makes.
pub fn once_each<M: Copy + PartialEq>(phases: &[Phase<M>]) -> Vec<Phase<M>> {
    let mut moves: Vec<M> = Vec::new();
    for next in phases.iter().filter(|phase| phase.rounds > 0).flat_map(|phase| &phase.moves) {
        if !moves.contains(next) {
            moves.push(*next);
        }
    }
    vec![Phase { rounds: 1, moves }]
}

impl<M: Copy> Moves<M> {
    /// These phases, one after the other.
    pub fn new(phases: Vec<Phase<M>>) -> Self {
        Moves(phases)
    }

    /// Moves in all.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|phase| phase.rounds.saturating_mul(phase.moves.len() as u64)).sum()
    }

    /// The move with this number, counted from 0; `None` after the last.
    pub fn at(&self, number: u64) -> Option<M> {
        let mut left = number;
        for phase in &self.0 {
            let each = phase.moves.len() as u64;
            let all = phase.rounds.saturating_mul(each);
            if left < all {
                return phase.moves.get((left % each) as usize).copied();
            }
            left -= all;
        }
        None
    }

    /// How many of all moves are `wanted`.
    pub fn count(&self, wanted: impl Fn(M) -> bool) -> u64 {
        let in_round = |phase: &Phase<M>| phase.moves.iter().filter(|m| wanted(**m)).count() as u64;
        self.0.iter().map(|phase| phase.rounds.saturating_mul(in_round(phase))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_follow_their_phases() {
        let phase = |rounds, moves: &str| Phase { rounds, moves: moves.chars().collect() };
        let moves = Moves::new(vec![phase(2, "st"), phase(0, "x"), phase(3, "dts"), phase(5, "")]);
        let all: String = (0..moves.total()).map(|n| moves.at(n).unwrap()).collect();
        assert_eq!(all, "ststdtsdtsdts");
        assert_eq!((moves.at(13), moves.count(|m| m == 's')), (None, 5));
        // What is never made is not rehearsed, and what comes again later is only once.
        assert_eq!(once_each(&[phase(0, "x"), phase(2, "st"), phase(3, "dts")]), [phase(1, "std")]);
    }
}
