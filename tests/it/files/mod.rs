//! Files as an operator has them: anything at a path of the configuration, any umask, and a log that is moved away.

mod forms;
mod log;
mod modes;
