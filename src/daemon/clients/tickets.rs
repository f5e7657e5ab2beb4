//! The waiting room at the daemon's side: what a request's ticket is worth, who gets one with a 503, and what the
//! response says of it.

use super::taken::Taken;
use crate::daemon::ground::Ground;
use crate::keyring::Invitation;
use crate::page::Failure;
use crate::policy::queue::Rank;
use crate::scgi::{self, Decoded, Header};
use crate::sys::clock;
use crate::ticket::Standing;

/// Whether the request's client gets a ticket where it is refused for load, if it does not have one.
fn can_return(request: &Taken, ground: &Ground) -> bool {
    ground.config.queue.waiting_room && request.is_browser()
}

/// What is known of the request's client. Its cookies are looked at only if it has to wait.
pub(super) fn rank(request: &Taken, ground: &mut Ground) -> Rank {
    if request.is_known {
        return Rank::Known;
    }
    if ground.pool.at_once > 0 || !ground.config.queue.waiting_room {
        return Rank::Anonymous;
    }
    let cookies = header(request).and_then(|header| header.value(b"HTTP_COOKIE"));
    let standing = cookies.map(|cookies| {
        let now = clock::wall();
        ground.keyring.standing(cookies, &ground.place, now)
    });
    match standing {
        Some(Standing::Due(ticket)) => Rank::Ticket {
            id: ticket.id(),
            issued: ticket.issued(),
        },
        Some(Standing::Anonymous | Standing::Early(_)) | None => Rank::Anonymous,
    }
}

/// What the response tells the client of a request that is refused for load. `None`: it is refused for another reason,
/// or there is no waiting room for it.
pub(super) fn invitation(
    request: &Taken,
    failure: Failure,
    ground: &mut Ground,
) -> Option<Invitation> {
    let retry_after = failure.wait().filter(|_| can_return(request, ground))?;
    let header = header(request)?;
    let value = |name: &str| header.value(name.as_bytes()).unwrap_or_default();
    let now = clock::wall();
    let invited = ground
        .keyring
        .invite(value, retry_after, &ground.place, now);
    if let Some(error) = ground.keyring.take_trouble() {
        let path = ground.place.keys();
        ::log::warn!("no tickets: cannot make {}: {error}", path.display());
    }
    Some(invited)
}

fn header(request: &Taken) -> Option<Header<'_>> {
    match scgi::decode(&request.header, request.header.len()) {
        Ok(Decoded::Header { header, .. }) => Some(header),
        _ => None,
    }
}
