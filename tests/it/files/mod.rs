//! Files as an operator has them: whatever lies at a path of the configuration, whatever the umask, and whoever moves
//! the log away.

mod forms;
mod log;
mod modes;
