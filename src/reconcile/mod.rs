//! Do TUNE's numbers and ours agree? Pure: no database, no terminal.
//!
//! [`report`] reads an export of TUNE's stats report, whose numbers [`number`] understands. [`compare`] puts it beside the sums of
//! the view `stats`, whose [`columns`] both have in common. [`evidence`] looks at [`fact`]s one by one for what could explain a
//! difference.

pub mod columns;
pub mod compare;
pub mod evidence;
pub mod fact;
pub mod number;
pub mod report;
