//! What every remote store has in common, on a wire in memory that fails as told: the marker, repetition, order.

mod marker;
mod repetition;
mod scripted;
