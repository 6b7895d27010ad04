//! Cells that were looked at and hold nothing: those that come again need no second look.

use std::fmt;

/// Longest cell that is remembered, in bytes.
const BYTES_MAX: usize = 63;
/// Cells remembered of a column: columns of few values are what this is for.
const PLACES: usize = 32;
/// Lookups after which a column in which less than half were found is given up.
const TRIAL: u32 = 256;

/// Clean cells of one column. A cell is found by all its bytes, not by a hash of them.
#[derive(Clone, Default)]
pub(super) struct CleanCells {
    /// A cell and its length each; empty until there is one.
    places: Vec<[u8; BYTES_MAX + 1]>,
    looked_up: u32,
    found: u32,
}

impl CleanCells {
    /// Reports whether a cell is known to be clean.
    #[inline]
    pub(super) fn holds(&mut self, cell: &[u8]) -> bool {
        // Before the first is remembered, that none is found says nothing.
        if cell.len() > BYTES_MAX || self.places.is_empty() || self.is_given_up() {
            return false;
        }
        self.looked_up += 1;
        let place = &self.places[place_of(cell)];
        let found = usize::from(place[BYTES_MAX]) == cell.len() && place[..cell.len()] == *cell;
        self.found += u32::from(found);
        found
    }

    /// Remembers a clean cell in the place of another one.
    pub(super) fn insert(&mut self, cell: &[u8]) {
        if cell.len() > BYTES_MAX || self.is_given_up() {
            return;
        }
        if self.places.is_empty() {
            // No cell is so long.
            self.places = vec![[u8::MAX; BYTES_MAX + 1]; PLACES];
        }
        let place = &mut self.places[place_of(cell)];
        place[..cell.len()].copy_from_slice(cell);
        place[BYTES_MAX] = cell.len() as u8;
    }

    fn is_given_up(&self) -> bool {
        self.looked_up >= TRIAL && self.found * 2 < self.looked_up
    }
}

impl fmt::Debug for CleanCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cells found", self.found, self.looked_up)
    }
}

/// Chooses a place by a few bytes from both ends and the length.
#[inline]
fn place_of(cell: &[u8]) -> usize {
    let ends = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let first = ends(cell.first_chunk());
    let last = ends(cell.last_chunk());
    let middle = cell.get(cell.len() / 2).copied().map_or(0, u32::from);
    let mixed = first ^ last.rotate_left(11) ^ middle << 3 ^ (cell.len() as u32) << 7;
    (mixed.wrapping_mul(0x9e37_79b1) >> (32 - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_clean_only_if_it_was_said_to_be() {
        let mut cells = CleanCells::default();
        assert!(!cells.holds(b"basic"));
        cells.insert(b"basic");
        assert!(cells.holds(b"basic"));
        for other in [&b"basi"[..], b"basic\0", b"Basic", b"", &[0; 64]] {
            assert!(!cells.holds(other));
        }
        for n in 0..PLACES * 100 {
            cells.insert(format!("plan {n}").as_bytes());
        }
        assert!(!cells.holds(format!("plan {}", PLACES * 100).as_bytes()));
    }

    #[test]
    fn a_column_of_many_values_is_given_up() {
        let mut cells = CleanCells::default();
        cells.insert(b"first");
        for n in 0..TRIAL {
            assert!(!cells.holds(format!("value {n}").as_bytes()));
        }
        cells.insert(b"again");
        assert!(cells.is_given_up() && !cells.holds(b"again"));
    }
}
