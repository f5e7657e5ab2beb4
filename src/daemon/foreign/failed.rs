//! A server of the app that could not be started: where the requests go that it has not accepted, and what is told.

use super::Foreign;
use super::link::has_cgi;
use super::servers;
use crate::app::CannotRun;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::RETRY_AFTER;
use crate::daemon::token::ServerId;
use crate::incidents::Mishap;
use crate::page::Failure;
use crate::policy::pool::{self, Refusal};
use crate::policy::server::{StartFailure, TERM_TIME};
use crate::report::{plain, visible};
use crate::sys::process::End;

impl Foreign {
    /// It could not be started. Requests that it has not accepted go elsewhere, if that can be.
    pub(super) fn server_failed(
        &mut self,
        id: ServerId,
        why: StartFailure,
        end: Option<End>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if self.supervision.is_adding && why == StartFailure::CannotStart {
            return;
        }
        let cannot = self.supervision.cannot.take();
        let reason = servers::reason(why, end, cannot.as_ref());
        let is_next = self.servers.coming == Some(id) && self.servers.serving.is_some();
        let sentence = plain(&reason);
        let shortage = cannot.as_ref().and_then(CannotRun::shortage);
        let kind = match shortage {
            Some(_) => Mishap::Host,
            None => Mishap::Server,
        };
        let is_news = self.keep_failure(kind, &sentence, ground);
        let shown = visible(reason.as_bytes());
        if is_next {
            if is_news {
                ::log::error!("reload failed, the old server goes on: {shown}");
                let told = format!("the new server can't be started, the old one goes on: {shown}");
                let words = ground.failures.take_words();
                ground.failures.keep_edit(told, &words);
                clients.tell_edit(None, ground);
            }
            self.servers.coming = None;
            self.put_back(id, clients, ground);
            self.retire_server(id, TERM_TIME, clients, ground);
            self.try_waiting(clients, ground);
            return;
        }
        if has_cgi(ground) {
            if is_news {
                ::log::error!("cannot start the server, the app runs as CGIs: {shown}");
            }
            self.put_back(id, clients, ground);
            self.try_waiting(clients, ground);
            return;
        }
        ::log::error!("cannot start the app: {shown}");
        ground.failures.is_untold = true;
        let refusal = match shortage {
            Some(what) => {
                ground.failures.shortage = what;
                ground.tell_pool(pool::Event::HostRefused(ground.pool.generation));
                Refusal::HostRefused {
                    retry_after: RETRY_AFTER,
                }
            }
            None => Refusal::Broken,
        };
        let waiting = std::mem::take(&mut self.supervision.waiting);
        for run_id in self.runs_of(id).into_iter().chain(waiting) {
            if clients.number_of(run_id).is_none() {
                continue;
            }
            if why == StartFailure::TimedOut {
                self.fail_exchange(run_id, Failure::TimedOut, &sentence, clients, ground);
            } else {
                self.refuse_run(run_id, refusal, clients, ground);
            }
        }
        // Queued requests are refused for that, and we leave: then the fronts keep the pause.
        ground.tell_pool(pool::Event::Broken);
    }
}
