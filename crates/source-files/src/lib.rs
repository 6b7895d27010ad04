//! Reads folders for a backup and puts them back.
//!
//! [`Walker`] yields the entries of a folder in [`lifeboat_model::EntryPath`]'s order, one `stat` each;
//! [`TreeWriter`] builds a folder from such entries. Both reach everything through file descriptors
//! below one root and follow no symbolic link, so neither can be led outside by a tree that changes
//! or lies.
//!
//! This crate must never know what a repository, a policy or a clock is.

mod ahead;
mod attributes;
mod beneath;
mod error;
mod found;
mod links;
mod mark;
mod options;
mod patterns;
mod place;
mod publish;
mod reader;
mod remove;
mod replace;
mod slot;
mod stat;
mod update;
mod walker;
mod writer;

pub use ahead::WalkAhead;
pub use attributes::Attributes;
pub use error::{FileProblem, FilesError, PatternFault};
pub use found::Found;
pub use mark::Mark;
pub use options::FilesOptions;
pub use patterns::PathFilter;
pub use reader::{ContentReader, Piece, Stability};
pub use remove::remove_tree;
pub use replace::{Replaced, earlier, replace_folder};
pub use slot::FileSlot;
pub use walker::Walker;
pub use writer::{TreeReport, TreeWriter};
