//! HTML views of recorded facts.
