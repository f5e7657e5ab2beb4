# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: copy from wsgi.py.
# Gives: Board, OVERDUE, mmap.
#
# What the daemon and its workers tell one another without a message: the worker's side of the board. The layout is
# described in src/sys/memory.rs.

import mmap

mmap = copy(mmap)
BOARD = 16384  # bytes
WRITTEN, MOVED, TOLD, SPOOL = 0, 4096, 8192, 12288  # bytes: where its parts begin
OVERDUE = 2


class Board:
    """The board as one worker uses it."""

    def __init__(self, fd, index):
        self.page = mmap.mmap(fd, BOARD)
        self.moves, self.spool = memoryview(self.page).cast('I'), memoryview(self.page).cast('Q')[SPOOL // 8:]
        self.at_written, self.at_moved, self.at_told = WRITTEN + index, MOVED // 4 + index, TOLD + index

    def mark_written(self):
        """Before the first byte to a client."""
        self.page[self.at_written] = 1

    def mark_cut(self):
        """Not all that was to be written went out."""
        self.page[self.at_written] = self.page[self.at_written] and 2

    def count_block(self):
        """A block was read or taken."""
        self.moves[self.at_moved] = (self.moves[self.at_moved] + 1) & 0xffffffff

    def told(self):
        """What the daemon tells of the request: 0 is nothing."""
        return self.page[self.at_told]

    def has_room(self, size, own):
        """Whether the spool takes so many bytes more. Others may fill it at this moment, and the daemon counts
        later than we write: the limit is soft, but not for what is all our own."""
        used, limit, _ = self.spool[:3]
        return max(used, own) + size <= limit

    def is_wanted(self):
        """Whether a request waits for a worker."""
        return self.spool[2] > 0
