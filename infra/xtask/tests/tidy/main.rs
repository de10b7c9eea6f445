//! What the tree must never contain: dependencies between parts, text in the wrong place, traces of one machine.
//! Each exception stands in a table with its reason.

mod graph;
mod locks;
mod sources;
mod tree;
