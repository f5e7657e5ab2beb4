//! What is counted of a request, as far as it has come.

use std::time::Duration;

use crate::figures::{Counted, Took};

/// What is counted of a request.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    /// When it came; `None` while its header is not whole.
    pub(super) came: Option<Duration>,
    /// When what serves it got it.
    pub(super) began: Option<Duration>,
    /// Why a page of ours answers it, where the page alone does not tell.
    pub(super) refused_for: Option<Counted>,
    /// The app has raised an exception.
    pub(super) has_raised: bool,
    /// It was counted.
    pub(super) is_settled: bool,
}

impl Reckoning {
    pub(super) fn took(&self, now: Duration) -> Option<Took> {
        let began = self.began?;
        Some(Took {
            waited: began.saturating_sub(self.came?),
            served: now.saturating_sub(began),
        })
    }
}
