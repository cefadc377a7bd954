//! Memory over time, in characters.

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bars of the bytes alive at each step, with the arena as the full height. Of steps that share a column the largest
/// counts.
pub(super) fn draw(live: &[u64], arena: u64, width: usize, height: usize) -> Vec<String> {
    let columns = live.len().min(width);
    let largest = |column: usize| {
        let (start, end) = (column * live.len() / columns, (column + 1) * live.len() / columns);
        live[start..end].iter().copied().max().unwrap_or(0)
    };
    let eighths: Vec<usize> = (0..columns)
        .map(|column| {
            let share = largest(column) as f64 / arena.max(1) as f64;
            // Rounded up, so that no step seems to need nothing.
            ((share * (8 * height) as f64).ceil() as usize).min(8 * height)
        })
        .collect();
    let row = |row: usize| {
        let below = 8 * (height - 1 - row);
        eighths
            .iter()
            .map(|&level| EIGHTHS[level.saturating_sub(below).min(8)])
            .collect::<String>()
    };
    (0..height).map(|index| row(index).trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_share() {
        assert_eq!(draw(&[16, 8, 1, 0], 16, 10, 2), ["█", "██▁"]);
        // Four steps in two columns.
        assert_eq!(draw(&[16, 8, 1, 4], 16, 2, 1), ["█▂"]);
        assert_eq!(draw(&[], 0, 10, 1), [""]);
    }
}
