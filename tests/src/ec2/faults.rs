//! What a test lets go wrong.

use std::collections::VecDeque;
use std::time::Duration;

use super::call::Call;

/// What happens to one call. Up to `Reset` nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The rate is limited.
    Throttled,
    /// EC2 itself has a problem.
    Internal,
    /// This status with this code.
    Refused(u16, &'static str),
    /// The credentials are refused, with the session token and the signature of the request in the message.
    Echo,
    /// The connection ends.
    Reset,
    /// Everything is done as it should be, and the answer comes late.
    Slow(Duration),
    /// Everything is done as it should be, and the connection ends without an answer.
    LostAnswer,
    /// Everything is done as it should be, and there is no answer while the connection lasts.
    NoAnswer,
    /// `CreateSnapshots` cuts the first volume and then fails.
    Partial,
}

#[derive(Debug)]
struct Order {
    action: String,
    times: usize,
    fault: Fault,
}

/// The faults that wait for their calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    orders: VecDeque<Order>,
}

impl Faults {
    pub(super) fn add(&mut self, action: &str, times: usize, fault: Fault) {
        self.orders.push_back(Order { action: action.to_owned(), times, fault });
    }

    pub(super) fn pending(&self) -> usize {
        self.orders.iter().map(|order| order.times).sum()
    }

    /// The fault of this call, if there is one. A dry run is left alone: nothing of it can go wrong.
    pub(super) fn take(&mut self, call: &Call) -> Option<Fault> {
        if call.flag("DryRun") {
            return None;
        }
        let action = &call.action;
        let order = self.orders.iter_mut().find(|order| order.times > 0 && (order.action == "*" || order.action == *action))?;
        order.times -= 1;
        Some(order.fault.clone())
    }
}
