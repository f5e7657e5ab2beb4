//! Files and directories, by what is asked of them. Files that a person names in a configuration are in
//! [`named`](super::named).

mod descriptor;
mod identity;
mod own;
mod unnamed;
mod way;

pub use descriptor::{
    Kind, become_input, described, duplicate, kind, null, pipe, pipe_holding, rest, waiting,
};
pub use identity::{Control, Entry, Identity, Stamp, control, entry, identity, identity_of, stamp};
pub use own::{
    Unusable, can_change, can_make_in, is_own_directory, make_own, open_own, own_directory,
    private_directory, privately, read_own, read_own_start, replace_own, seems_own_directory,
};
pub use unnamed::{in_memory, in_memory_of, reserve, reserve_beyond, unnamed};
pub use way::{MOST_LINKS, Obstacle, Stop, Walker, Want, is_noexec, parts, walk};
