//! What can be recovered: from which backup, over which WAL, how far, and why no further.
//!
//! Arithmetic on what was read: no I/O and no clock. WAL is followed as PostgreSQL follows it: along the history of a timeline, each
//! segment from the newest timeline of the way that has begun there. `window` shows all of it, `can-restore` and `snapshot-fetch`
//! ask about one target, and a deletion asks what would be left.

mod calculate;
mod can_restore;
mod input;
mod line;
mod origin;
pub(crate) mod ranges;
#[cfg(test)]
mod tests;
mod way;

pub use calculate::{Gap, GapReason, IntervalEnd, Point, RecoverableInterval, Unusable, UnusableBackup, Window, calculate};
pub(crate) use can_restore::followed;
pub use can_restore::{Question, Refusal, Route, WantedBackup, can_restore};
pub use input::{Standing, TimelineWal, WindowBackup, WindowInput};
pub(crate) use line::Line;
pub use line::LineEnd;
pub use origin::TimelineOrigin;
pub(crate) use way::Way;
