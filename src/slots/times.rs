//! How long plain CGIs took, in the file `slots`: a ring with a number for each of the last ones. The process that the
//! front became writes it, at its end and by one system call (`note_time` in src/app/once.py): no other process sees that
//! end. Only the WSGI adaptor does so; other programs know nothing of us.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::{ARRIVALS, Slots, counts};
use crate::figures::{Histogram, Quantiles, RECENT, bin};

/// As many as find room behind the minutes, in the same page.
const COUNT: usize = 128;
const FIRST: usize = counts::END;
pub(super) const END: usize = FIRST + COUNT;

/// The lower half of a number is the time in these units; the upper half when it was noted, in seconds since the boot.
const UNITS: u32 = 10_000;

impl Slots {
    /// Tells the adaptor where it notes how long its request took, and since when that counts:
    /// `DESCRIPTOR:OFFSET:SECONDS`. `None`: there was no room on the disk.
    pub fn time_note(&self, now: Duration) -> Option<String> {
        let nth = self.numbers.at(ARRIVALS).load(SeqCst) as usize % COUNT;
        let (fd, offset) = (self.file.as_raw_fd(), (FIRST + nth) * 8);
        let since = now.as_secs_f64();
        self.counts().then(|| format!("{fd}:{offset}:{since}"))
    }

    /// What the plain CGIs of the last minutes took, as far as they are remembered.
    pub(super) fn cgi_times(&self, now: Duration) -> Option<Quantiles> {
        self.cgi_times_since(now.saturating_sub(Duration::from_secs(RECENT * 60)))
    }

    /// What those took that ended after `since`.
    pub(super) fn cgi_times_since(&self, since: Duration) -> Option<Quantiles> {
        let mut times = Histogram::default();
        for nth in 0..COUNT {
            let number = self.numbers.at(FIRST + nth).load(Relaxed);
            let noted = Duration::from_secs(number >> 32);
            if number != 0 && (noted > since || since.is_zero()) {
                let took = Duration::from_secs(number & u64::from(u32::MAX)) / UNITS;
                times.add(bin(took), 1);
            }
        }
        times.quantiles()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::tests::{S, slots};

    #[test]
    fn what_the_adaptor_notes_is_found_for_five_minutes() {
        let (_dir, slots) = slots();
        assert_eq!(slots.cgi_times(S(10)), None);
        for nth in 0..3 {
            slots.arrive(S(9));
            let note = slots.time_note(S(9)).unwrap();
            let words: Vec<&str> = note.split(':').collect();
            let [_, offset, since] = words[..] else {
                panic!("{note}");
            };
            assert_eq!(since, "9");
            // Half a second, one, two.
            let number: u64 = 10 << 32 | 5000 << nth;
            let offset = offset.parse().unwrap();
            slots
                .file
                .write_all_at(&number.to_ne_bytes(), offset)
                .unwrap();
        }
        let times = slots.cgi_times(S(309)).unwrap();
        assert!((900_000..1_100_000).contains(&times.p50), "{times:?}");
        assert!((1_800_000..2_300_000).contains(&times.p99), "{times:?}");
        assert_eq!(slots.cgi_times(S(310)), None);
    }
}
