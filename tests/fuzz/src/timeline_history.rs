//! Timeline history files: which WAL belongs to a timeline. The first line is the number of the timeline.

use stillframe_core::postgres::{Lsn, TimelineHistory, TimelineId};

use crate::Verdict;
use crate::input::Input;

/// Ancestors go from the oldest to the newest, and each position belongs to one timeline of the way at most, but for the forks.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let Ok(timeline) = TimelineId::new(u32::try_from(input.number()).unwrap_or(u32::MAX)) else { return Verdict::Refused };
    let text = input.rest_text();
    let history = match TimelineHistory::parse(timeline, &text) {
        Ok(history) => history,
        Err(error) => {
            assert!(error.line <= text.lines().count().max(1), "the fault is in line {}, behind the end", error.line);
            return Verdict::Refused;
        }
    };
    let forks = history.ancestors();
    assert!(forks.iter().all(|fork| fork.timeline < timeline));
    assert!(forks.windows(2).all(|pair| pair[0].timeline < pair[1].timeline && pair[0].position <= pair[1].position));
    for (place, fork) in forks.iter().enumerate() {
        assert_eq!(history.fork_of(fork.timeline), Some(fork.position));
        assert!(history.contains(fork.timeline, fork.position));
        let behind = Lsn(fork.position.0.saturating_add(1));
        assert!(behind == fork.position || !history.contains(fork.timeline, behind), "{fork:?} goes on behind its fork");
        let next = forks.get(place + 1).map_or(timeline, |next| next.timeline);
        assert!(fork.position.0 == 0 || !history.contains(next, Lsn(fork.position.0 - 1)), "{next} begins before its fork");
    }
    assert!(history.contains(timeline, Lsn(u64::MAX)));
    let written = forks.iter().fold(String::new(), |text, fork| format!("{text}{}\t{}\twhy\n", fork.timeline, fork.position));
    assert_eq!(TimelineHistory::parse(timeline, &written).as_ref(), Ok(&history), "a history that is written is read otherwise");
    Verdict::Accepted
}
