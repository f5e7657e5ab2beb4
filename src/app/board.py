# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: copy from wsgi.py.
# Gives: Board, HEADER, OVERDUE, boot_time, mmap.
#
# What the daemon and its workers tell one another without a message: the worker's side of the board. The layout is
# described in src/sys/memory.rs.

import mmap

mmap = copy(mmap)
BOARD = 17334272  # bytes
WRITTEN, MOVED, TOLD, SPOOL, DESKS = 0, 4096, 8192, 12288, 16384  # bytes: where its parts begin
DESK = 512  # bytes for each worker
HEADERS, HEADER_NUMBERS, HEADER = 540672, 16, 16384  # bytes: where headers begin, and for each worker: numbers, header
BEGAN, ENDED, SERVED, TOOK = range(4)  # its numbers of 8 bytes
BINS = 32  # bytes: where its numbers of 4 bytes begin
OVERDUE = 2


def boot_time():
    """In ns, by the clock that the daemon goes by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Board:
    """The board as one worker uses it."""

    def __init__(self, fd, index):
        self.page = mmap.mmap(fd, BOARD)
        self.moves, self.spool = memoryview(self.page).cast('I'), memoryview(self.page).cast('Q')[SPOOL // 8:]
        self.at_written, self.at_moved, self.at_told = WRITTEN + index, MOVED // 4 + index, TOLD + index
        desk = memoryview(self.page)[DESKS + index * DESK:][:DESK]
        self.desk, self.bins = desk.cast('Q'), desk.cast('I')[BINS // 4:]
        header = memoryview(self.page)[HEADERS + index * (HEADER_NUMBERS + HEADER):][:HEADER_NUMBERS + HEADER]
        self.numbers, self.header = header[:HEADER_NUMBERS].cast('I'), header[HEADER_NUMBERS:]

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

    def accept_until(self):
        """Until when the worker may take requests from the listeners: in ns, as boot_time() has it."""
        return self.spool[3]

    def begin(self):
        """The worker has taken a request itself."""
        self.page[self.at_written] = self.page[self.at_told] = 0
        self.desk[BEGAN] = boot_time()

    def lay_out(self, fd, listener, data):
        """What the daemon needs to adopt the request."""
        numbers = self.numbers
        numbers[0], numbers[1], numbers[2] = fd, listener, len(data)
        self.header[:len(data)] = data

    def end(self):
        """The request is the daemon's, or there is none."""
        self.desk[BEGAN] = 0

    def count(self):
        """The worker has served it, and the daemon has not heard of it."""
        now, desk = boot_time(), self.desk
        took = (now - desk[BEGAN]) // 1000
        octave = took.bit_length() - 7
        bin = min(1 + 4 * octave + (took >> octave + 4 & 3), 95) if octave >= 0 else 0
        self.bins[bin] = self.bins[bin] + 1 & 0xffffffff
        desk[TOOK] += took
        desk[ENDED] = now
        desk[SERVED] += 1
        desk[BEGAN] = 0
