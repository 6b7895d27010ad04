//! A compact set of keyed hashes that remembers where each came from, of bounded size.
//!
//! An entry is one word: 52 bits of hash above the 12-bit code of a source. The lowest eight bits of a
//! hash choose among 256 shards, which fill evenly, so that a batch of hashes can be sorted by shard
//! and every shard worked on alone: in parallel, and within the cache. Sixty bits of a hash count in
//! all; among ten million entries a foreign value meets one by chance once in 10^11.
//!
//! Once the set holds its most, it keeps every second hash, then every fourth, and so on. Which ones is
//! decided by the hash, so the sample does not depend on the order of values.

use rayon::prelude::*;

const SHARDS: usize = 256;
const SOURCE_BITS: u32 = 12;
const SOURCE_MASK: u64 = (1 << SOURCE_BITS) - 1;

/// Entries whose places are fetched together: about as many loads as a core has under way.
const FETCHED_AHEAD: usize = 16;

/// Largest code of a source.
pub(super) const SOURCE_MAX: u16 = SOURCE_MASK as u16;

/// Hashes sorted by shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted {
    entries: Vec<u64>,
    /// Where each shard's entries end.
    ends: Vec<u32>,
}

impl Sorted {
    /// Sorts hashes, each with the code of its source.
    pub(super) fn new(hashes: &[(u64, u16)]) -> Self {
        let mut ends = vec![0_u32; SHARDS];
        for (hash, _) in hashes {
            ends[shard_of(*hash)] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        let mut entries = vec![0; hashes.len()];
        for (hash, source) in hashes {
            let place = &mut ends[shard_of(*hash)];
            entries[*place as usize] = tag(*hash) | u64::from(*source);
            *place += 1;
        }
        Self { entries, ends }
    }

    fn shard(&self, shard: usize) -> &[u64] {
        let Some(end) = self.ends.get(shard) else {
            return &[];
        };
        let start = if shard == 0 { 0 } else { self.ends[shard - 1] };
        &self.entries[start as usize..*end as usize]
    }
}

fn shard_of(hash: u64) -> usize {
    (hash % SHARDS as u64) as usize
}

/// Returns the part of a hash that an entry keeps; never zero, which marks an empty place.
fn tag(hash: u64) -> u64 {
    (hash & !SOURCE_MASK).max(1 << SOURCE_BITS)
}

/// Returns the bits of a hash in its word of a filter.
///
/// High bits choose the place, and the lowest those that are kept at all, so these are out of the middle.
#[inline]
fn bits(entry: u64) -> u64 {
    1 << (entry >> 26 & 63) | 1 << (entry >> 34 & 63)
}

/// The set.
#[derive(Debug, Clone)]
pub(super) struct HashSet {
    shards: Vec<Shard>,
    len_max: usize,
    /// A hash is kept if these bits of it are zero.
    sample: u64,
}

#[derive(Debug, Clone, Default)]
struct Shard {
    /// Open addressing, zero where nothing is.
    places: Vec<u64>,
    /// A word for each eight places with some bits of what belongs there: small enough for a cache,
    /// and nearly all that is looked up stands in no place.
    filter: Vec<u64>,
    len: usize,
}

impl HashSet {
    /// Makes an empty set of at most some `len_max` hashes.
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            shards: vec![Shard::default(); SHARDS],
            len_max,
            sample: 0,
        }
    }

    /// Adds sorted hashes, in parallel on the current rayon pool.
    ///
    /// Of several sources of one hash the lowest is kept, whatever the order.
    pub(super) fn extend(&mut self, batches: &[&Sorted]) {
        let sample = self.sample;
        let shards = self.shards.par_iter_mut().enumerate();
        shards.with_min_len(16).for_each(|(n, shard)| {
            let added: usize = batches.iter().map(|batch| batch.shard(n).len()).sum();
            shard.reserve(added);
            for entries in batches.iter().map(|batch| batch.shard(n)) {
                shard.insert_all(entries, sample);
            }
        });
        while self.len() > self.len_max {
            self.thin_out();
        }
    }

    /// Drops every second hash, and keeps none like them from here on.
    fn thin_out(&mut self) {
        self.sample = self.sample << 1 | 1 << SOURCE_BITS;
        let sample = self.sample;
        self.shards.par_iter_mut().for_each(|shard| {
            let mut kept = std::mem::take(shard).places;
            kept.retain(|entry| *entry != 0 && entry & sample == 0);
            // They come in the order of their places. In a table that grew with them they would crowd at
            // its beginning, and each would look through all before it.
            *shard = Shard::with_room_for(kept.len());
            kept.into_iter().for_each(|entry| shard.insert(entry));
        });
    }

    /// Reports whether a hash may be in the set: one in thirty is taken for one that is.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let shard = &self.shards[shard_of(hash)];
        let wanted = bits(hash);
        shard
            .filter
            .get(shard.home(tag(hash)) / 8)
            .is_some_and(|bits| bits & wanted == wanted)
    }

    /// Returns the code of a hash's source, if it is in the set.
    pub(super) fn source(&self, hash: u64) -> Option<u16> {
        self.shards[shard_of(hash)].source(tag(hash))
    }

    /// Returns how many hashes there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    /// Returns how many hashes one of the set stands for: 1, 2, 4 and so on.
    pub(super) fn sampling(&self) -> u64 {
        (self.sample >> SOURCE_BITS) + 1
    }

    /// Returns all hashes with their sources, sorted.
    pub(super) fn sorted(&self) -> Sorted {
        let mut sorted = Sorted::default();
        for shard in &self.shards {
            let entries = shard.places.iter().filter(|entry| **entry != 0);
            sorted.entries.extend(entries);
            sorted.ends.push(sorted.entries.len() as u32);
        }
        sorted
    }
}

impl Shard {
    fn with_room_for(len: usize) -> Self {
        let places = len + len / 4 + 16;
        Self {
            places: vec![0; places],
            filter: vec![0; places.div_ceil(8)],
            len: 0,
        }
    }

    /// Makes room for the first entries at once. Later ones are few beside those that are there, and may
    /// be the same.
    fn reserve(&mut self, added: usize) {
        if self.len == 0 && added > 0 {
            *self = Self::with_room_for(added);
        }
    }

    /// Inserts those of `entries` that `sample` lets through.
    fn insert_all(&mut self, entries: &[u64], sample: u64) {
        for some in entries.chunks(FETCHED_AHEAD) {
            let kept = || some.iter().filter(|entry| *entry & sample == 0);
            // Where they belong is far from every cache. Loads that do not wait for each other come in
            // together, and then nothing waits.
            for entry in kept() {
                let home = self.home(*entry);
                std::hint::black_box((self.places[home], self.filter[home / 8]));
            }
            for entry in kept() {
                self.insert(*entry);
            }
        }
    }

    fn insert(&mut self, entry: u64) {
        // Above seven eighths runs of full places grow long; a quarter more at a time wastes little.
        if self.len * 8 >= self.places.len() * 7 {
            self.grow();
        }
        let place = self.place(entry);
        let held = &mut self.places[place];
        if *held == 0 {
            *held = entry;
            self.len += 1;
            let home = self.home(entry);
            self.filter[home / 8] |= bits(entry);
        } else {
            *held = entry.min(*held);
        }
    }

    fn grow(&mut self) {
        let larger = self.places.len() + self.places.len() / 4 + 16;
        let places = std::mem::replace(&mut self.places, vec![0; larger]);
        self.filter = vec![0; larger.div_ceil(8)];
        for entry in places.into_iter().filter(|entry| *entry != 0) {
            let place = self.place(entry);
            self.places[place] = entry;
            let home = self.home(entry);
            self.filter[home / 8] |= bits(entry);
        }
    }

    /// Returns the place that a hash comes to stand in, if it is free.
    #[inline]
    fn home(&self, entry: u64) -> usize {
        crate::key::scale(entry & !SOURCE_MASK, self.places.len() as u64) as usize
    }

    /// Returns where a hash is or belongs.
    fn place(&self, entry: u64) -> usize {
        let tag = entry & !SOURCE_MASK;
        let mut place = self.home(tag);
        loop {
            let held = self.places[place];
            if held == 0 || held & !SOURCE_MASK == tag {
                return place;
            }
            place += 1;
            if place == self.places.len() {
                place = 0;
            }
        }
    }

    fn source(&self, tag: u64) -> Option<u16> {
        if self.len == 0 {
            return None;
        }
        let held = self.places[self.place(tag)];
        (held != 0).then_some((held & SOURCE_MASK) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::SipKey;

    fn hashes(range: std::ops::Range<u64>) -> Vec<(u64, u16)> {
        let key = SipKey::new(&[9; 16]);
        range.map(|n| (key.hash_word(n), (n % 7) as u16)).collect()
    }

    #[test]
    fn what_is_added_is_found_with_its_lowest_source_and_nothing_else_is() {
        let mut set = HashSet::new(1 << 20);
        let sorted = Sorted::new(&hashes(0..50_000));
        set.extend(&[&sorted, &sorted]);
        let later: Vec<_> = hashes(0..50_000)
            .into_iter()
            .map(|(hash, _)| (hash, 3))
            .collect();
        set.extend(&[&Sorted::new(&later)]);
        assert_eq!((set.len(), set.sampling()), (50_000, 1));
        for (hash, source) in hashes(0..50_000) {
            assert!(set.may_hold(hash));
            assert_eq!(set.source(hash), Some(source.min(3)));
        }
        let others = hashes(50_000..150_000);
        assert!(others.iter().all(|(hash, _)| set.source(*hash).is_none()));
        let seeming = others
            .iter()
            .filter(|(hash, _)| set.may_hold(*hash))
            .count();
        assert!(seeming < 7_000, "{seeming}");
    }

    #[test]
    fn a_full_set_keeps_a_sample_that_does_not_depend_on_the_order() {
        let mut all = hashes(0..40_000);
        let mut set = HashSet::new(11_000);
        for part in all.chunks(3_000) {
            set.extend(&[&Sorted::new(part)]);
            assert!(set.len() <= 11_000);
        }
        assert_eq!(set.sampling(), 4, "{}", set.len());
        all.reverse();
        let mut other = HashSet::new(11_000);
        other.extend(&[&Sorted::new(&all)]);
        let [mut a, mut b] = [set.sorted().entries, other.sorted().entries];
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
        let mut merged = HashSet::new(11_000);
        merged.extend(&[&set.sorted()]);
        assert_eq!(merged.len(), set.len());
    }
}
