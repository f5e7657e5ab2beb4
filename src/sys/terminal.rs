//! The terminal of a person: how large it is, and its keys one by one. What is shown on it is not its concern.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

use super::files;

/// Columns and rows; `None` if it is no terminal, or does not say.
pub fn size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ fills the structure, which is valid for the call.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).ok()?;
    let [columns, rows] = [size.ws_col, size.ws_row].map(usize::from);
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// While this lives, a key can be read as soon as it is pressed, and is not shown. Those that send a signal still do.
pub struct Keys {
    terminal: OwnedFd,
    before: Termios,
}

impl Keys {
    /// Sets the terminal so; an error if it is none.
    pub fn at_once(terminal: impl AsFd) -> io::Result<Keys> {
        let terminal = files::duplicate(terminal)?;
        let before = tcgetattr(&terminal)?;
        let mut now = before.clone();
        now.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        now.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        now.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&terminal, SetArg::TCSADRAIN, &now)?;
        Ok(Keys { terminal, before })
    }

    /// Keys that were pressed; call it when there is something to read. None at the terminal's end.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 64];
        let count = nix::unistd::read(&self.terminal, &mut bytes)?;
        Ok(bytes[..count].to_vec())
    }
}

impl AsFd for Keys {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The terminal may be gone: then nothing is to be restored.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
