//! Numbers of users and groups, from /etc/passwd and /etc/group alone: what the C library would ask beside them it
//! loads at run time, and a static program can't.

use std::fs;
use std::io;

/// The number of a user of this host; `None`: /etc/passwd has no such name.
pub fn user(name: &str) -> io::Result<Option<u32>> {
    Ok(number(&fs::read("/etc/passwd")?, name))
}

/// The number of a group of this host; `None`: /etc/group has no such name.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    Ok(number(&fs::read("/etc/group")?, name))
}

/// passwd(5) and group(5) both begin `name:password:number:`.
fn number(table: &[u8], name: &str) -> Option<u32> {
    table.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        if fields.next() != Some(name.as_bytes()) {
            return None;
        }
        let number = std::str::from_utf8(fields.nth(1)?).ok()?;
        number.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_field_is_the_number() {
        let table = b"root:x:0:0:root:/root:/bin/sh\n# x\nwww-data:x:33:\nbad\nodd:x:no:\nodd2:x";
        assert_eq!(number(table, "root"), Some(0));
        assert_eq!(number(table, "www-data"), Some(33));
        for name in ["", "www", "bad", "odd", "odd2", "x"] {
            assert_eq!(number(table, name), None, "{name}");
        }
    }

    #[test]
    fn every_host_has_root() {
        assert_eq!(user("root").unwrap(), Some(0));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(user("no such user").unwrap(), None);
    }
}
