//! The daemon's name and its command line.

use argh::{ArgsInfo, FromArgs};

/// In the log and on the command line.
pub(super) const NAME: &str = "scgi-daemon";

/// Serve an app's requests from a pool of workers until it is idle. Fronts start this by themselves; by hand it stays
/// in the foreground and says on standard error what it does.
#[derive(ArgsInfo, FromArgs)]
pub(super) struct Words {
    /// the listening socket, as a descriptor: for the front that starts us
    #[argh(option, arg_name = "N", hidden_help)]
    pub(super) socket_fd: Option<i32>,

    /// stay in the foreground with such a socket, too: for the daemon that becomes us
    #[argh(switch, hidden_help)]
    pub(super) foreground: bool,

    /// one more, of `listen`: from the daemon that becomes us; may be repeated
    #[argh(option, arg_name = "N", hidden_help)]
    pub(super) listen_fd: Vec<i32>,

    /// one more, that was given by LISTEN_FDS: likewise
    #[argh(option, arg_name = "N", hidden_help)]
    pub(super) given_fd: Vec<i32>,

    /// remove the places of apps that are gone from this runtime directory, and serve nothing: for the daemon of APP
    #[argh(option, arg_name = "directory", hidden_help)]
    pub(super) sweep: Option<String>,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    pub(super) user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    pub(super) app: String,
}
