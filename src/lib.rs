//! polycgi: one file in cgi-bin runs a web app as a plain CGI while the site is quiet, in a daemon when it is busy,
//! and says 'try again later' when it is swamped.
//!
//! # A request's way through the rooms
//! The web server starts the binary for a request. Its first instruction is not the C library's but the hot path's
//! (src/express, beside main.rs): where a daemon takes the request, a dozen system calls are all that it costs, and
//! nothing of this library is run. All else begins here, as if that had not been.
//!
//! [`applet`] sees GATEWAY_INTERFACE and hands over to [`front`]. The front takes the meta-variables from the
//! environment ([`cgi`]), asks [`app_file`] what the app's place is called, [`naming`] where its socket lies (the hot
//! path asks no other), and [`start`] for a connection. Where a daemon answers, the request goes there as an SCGI
//! header ([`scgi`]) with the front's own descriptors beside it, and the front waits for the words of [`handoff`];
//! until then it has allocated nothing. Where none does, the front reads the [`config`], makes its [`place`], gathers
//! facts ([`facts`], [`slots`], [`sys`]), asks [`policy`] for the route, and becomes the app ([`app`]), starts the
//! daemon, or answers with a [`page`].
//!
//! What a program that is itself the CGI says to a client goes through [`answer`], to an operator through [`report`];
//! where descriptors can't be passed, [`relay`] copies. A message-body without a length is read to its end first, into
//! the [`spool`]. [`app_cgi`] and [`overload_page`] are the front's two simple sisters.
//!
//! In the [`daemon`] one loop lets connections in at its door, reads the header (`daemon::clients`), asks the pool
//! ([`policy`]), and gives the descriptors to a worker (`daemon::workers`), a Python process that [`app`] started with
//! our adaptor (`app/wsgi.py` and the files beside it). The worker reads and writes the web server's own pipes: nothing
//! is copied but for slow clients, whose bodies and responses wait in files that the loop fills and empties. Workers are
//! forked by a zygote that has imported the app; other code is another generation, a zygote beside the one before. An
//! app of another kind has no such workers (`daemon::foreign`): for each request the loop starts its program, or asks
//! its SCGI server, and passes the response on, once its head is one. Web servers that speak SCGI or [`fastcgi`] may come
//! without a front, at the addresses of [`listen`]; what comes by FastCGI is copied (`daemon::wires`). Generations, configuration, upgrade and end of the daemon are
//! `daemon::life`'s. src/daemon/walks.md names each function on these ways.
//!
//! A browser that is refused for load gets a [`ticket`], signed by the keys of its app's [`keyring`]: if it comes back
//! with that, it goes before others.
//!
//! What becomes of a request is counted by the process that answers it, in the words of [`figures`] and the file of [`slots`];
//! what went wrong is kept in those of [`incidents`] and the [`logbook`]. A daemon's restart loses neither.
//!
//! People talk to all of it through [`cli`], whose words [`args`] reads, and to a daemon in the words of [`control`];
//! root does so as the user whom [`acting`] finds. A place in the private /tmp of a web server is [`elsewhere`]; the
//! places of apps that are gone are removed by a [`sweep`]. Whether the ways to an app give the same is [`compare`]'s
//! question. What others wrote is [`printable`] before a terminal gets it; what a person may have meant, [`spelling`]
//! guesses. What is counted of requests ([`figures`], in [`slots`]) and [`known`] without a daemon is shown by
//! [`control`] to a person, and by [`views`] to a browser or to Prometheus.
//!
//! # The house
//! Two ground floors that never meet: words, pure, and calls, the only room with `unsafe`. Above them what joins the
//! two, then a room for each mode, and on the roof the table of applets. A room imports from floors below it only,
//! and modes never import each other; the daemon has storeys of its own. tests/rooms.rs holds the house to that. The hot path stands on the doorstep: it
//! has calls of its own, shares the words, and leaves what it has begun at the front's door.
#[cfg(not(target_os = "linux"))]
compile_error!(
    "polycgi needs Linux 5.10 or later: it passes descriptors, counts CGIs by record locks and splices"
);

// -- words
pub mod bounded;
pub mod cgi;
pub mod compare;
pub mod config;
pub mod control;
pub mod fastcgi;
pub mod figures;
pub mod handoff;
pub mod incidents;
pub mod naming;
pub mod page;
pub mod policy;
pub mod printable;
pub mod scgi;
pub mod spelling;
pub mod ticket;
pub mod views;

// -- calls
pub mod sys;

// -- what joins them
pub mod acting;
pub mod answer;
pub mod app;
pub mod app_file;
pub mod args;
pub mod elsewhere;
pub mod facts;
pub mod keyring;
pub mod known;
pub mod listen;
pub mod logbook;
pub mod place;
pub mod relay;
pub mod report;
pub mod slots;
pub mod spool;
pub mod start;
pub mod sweep;

// -- the modes
pub mod app_cgi;
pub mod cli;
pub mod daemon;
pub mod front;
pub mod overload_page;

// -- roof
pub mod applet;

// -- on it, for the tests only: what people read and type with, held to all of this
#[cfg(test)]
mod completions;
#[cfg(test)]
mod manual;
