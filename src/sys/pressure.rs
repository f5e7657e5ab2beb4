//! How much of the time processes wait for memory: pressure stall information (PSI) of the host, and of our cgroups,
//! whose limits may be tighter. Where the kernel has none (before 4.20, without CONFIG_PSI, `psi=0`), nothing is known.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::load::own_cgroup;

const HOST: &str = "/proc/pressure/memory";
/// Where cgroup version 2 is mounted: alone, or beside version 1.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Some process has waited for memory for 200 ms of 2 s: the share at which systemd asks its services to use less. A
/// window of any other length than a multiple of 2 s takes a privilege. The kernel takes the last byte for the end.
const A_TENTH: &[u8] = b"some 200000 2000000\0";

/// The files that say how long processes have waited, as far as there are such.
#[derive(Debug)]
pub struct PressureFiles(Vec<PathBuf>);

impl PressureFiles {
    /// The host's, and those of our cgroup and of all above it.
    pub fn find() -> PressureFiles {
        let own = own_cgroup();
        let groups = own.iter().flat_map(|own| own.ancestors());
        let of_groups = groups.flat_map(|group| {
            GROUPS.map(|root| PathBuf::from(root).join(group).join("memory.pressure"))
        });
        let all = [HOST.into()].into_iter().chain(of_groups);
        PressureFiles(all.filter(|path| path.exists()).collect())
    }

    /// The largest share of the last 10 s in which at least one process waited, in percent. `None`: the kernel does not
    /// say.
    pub fn some(&self) -> Option<f64> {
        let texts = self.0.iter().flat_map(fs::read_to_string);
        texts.filter_map(|text| parse(&text)).reduce(f64::max)
    }

    /// A trigger for each of the files that takes one from us, and whether all do.
    pub fn triggers(&self) -> (Vec<PressureTrigger>, bool) {
        let set = self.0.iter().flat_map(|path| PressureTrigger::set(path));
        let set: Vec<PressureTrigger> = set.collect();
        let is_all = set.len() == self.0.len();
        (set, is_all)
    }
}

/// A descriptor that is urgent (`Interest::Urgent`) once processes have waited for a tenth of 2 s, and again for each 2 s
/// of which that is so.
#[derive(Debug)]
pub struct PressureTrigger(File);

impl PressureTrigger {
    /// Before Linux 6.4 this takes a privilege, and always the right to write to the file of a cgroup.
    fn set(path: &Path) -> io::Result<PressureTrigger> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.write_all(A_TENTH)?;
        Ok(PressureTrigger(file))
    }
}

impl AsFd for PressureTrigger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `some avg10=1.53 avg60=0.87 avg300=0.22 total=58761459`, then the same of `full`.
fn parse(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some.split(' ').find_map(|part| part.strip_prefix("avg10="));
    let average: f64 = average?.parse().ok()?;
    (0.0..=100.0).contains(&average).then_some(average)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_last_10_s_is_read() {
        let text = "some avg10=1.53 avg60=0.87 avg300=0.22 total=58761459\n\
                    full avg10=1.13 avg60=0.64 avg300=0.17 total=58525896\n";
        assert_eq!(parse(text), Some(1.53));
        for wrong in [
            "",
            "full avg10=1.13\n",
            "some avg60=1.00\n",
            "some avg10=NaN\n",
            "some avg10=-1\n",
            "some avg10=100.01\n",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_largest_counts_and_what_cannot_be_read_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, share: &str| {
            let path = dir.path().join(name);
            fs::write(&path, format!("some avg10={share} avg60=0.00\n")).unwrap();
            path
        };
        let missing = dir.path().join("missing");
        let all = vec![file("host", "2.50"), missing.clone(), file("group", "7.25")];
        assert_eq!(PressureFiles(all).some(), Some(7.25));
        // As with psi=0, where each file is missing or can't be read.
        assert_eq!(PressureFiles(vec![missing]).some(), None);
        assert_eq!(PressureFiles(vec![dir.path().into()]).some(), None);
    }
}
