//! Values planted in the source, which must be nowhere in the output.

use std::fmt;

use aho_corasick::AhoCorasick;

/// Values planted in the source, which must be nowhere in the output.
#[derive(Clone, Default)]
pub struct Canaries {
    search: Option<AhoCorasick>,
    count: usize,
    /// Whether one of them may be written as a number.
    numbers: bool,
}

impl Canaries {
    /// Prepares to look for `planted` values, whatever the case of their letters.
    ///
    /// Empty texts are not looked for.
    pub fn new<T: AsRef<[u8]>>(planted: &[T]) -> Self {
        let planted: Vec<&[u8]> = planted
            .iter()
            .map(AsRef::as_ref)
            .filter(|text| !text.is_empty())
            .collect();
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&planted);
        let of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        Self {
            // Only a search of more than 2^31 states cannot be built; `None` is then not verified.
            search: search.ok().filter(|_| !planted.is_empty()),
            count: planted.len(),
            numbers: planted.iter().any(|text| text.iter().all(of_number)),
        }
    }

    pub(super) fn is_declared(&self) -> bool {
        self.count > 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn is_ready(&self) -> bool {
        self.search.is_some()
    }

    /// Reports whether a number may be one of them.
    #[inline]
    pub(super) fn may_be_numbers(&self) -> bool {
        self.numbers
    }

    /// Reports whether one of them stands in `text`.
    pub(super) fn any(&self, text: &[u8]) -> bool {
        self.search
            .as_ref()
            .is_some_and(|search| search.is_match(text))
    }

    /// Calls `found` with each that stands in `text`, by its number from 1.
    pub(super) fn find(&self, text: &[u8], mut found: impl FnMut(usize)) {
        if let Some(search) = &self.search {
            let finds = search.find_iter(text);
            finds.for_each(|find| found(find.pattern().as_usize() + 1));
        }
    }
}

impl fmt::Debug for Canaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} canaries", self.count)
    }
}
