//! HTML views of recorded facts.
//!
//! A [`Story`] borrows what verbs reported, and [`html`] lays it out on one page that needs nothing
//! but itself: no script, no font, no image and no link leads out of it. Nothing is measured, read or
//! decided here; a figure that was not recorded reads "not measured" and never 0.

mod backups;
mod drill;
mod figure;
mod gauge;
mod masking;
mod page;
mod replications;
mod story;
mod tiles;
mod verdict;
mod waterfall;

pub use page::html;
pub use story::{GateView, MaskingView, Story};
