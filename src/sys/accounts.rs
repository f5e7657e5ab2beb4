//! Users and groups, from /etc/passwd and /etc/group alone: the C library would load modules for other sources at run
//! time, which a static program can't. And how root becomes one of these users.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{
    Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid, setuid,
};

/// A user of this host, as /etc/passwd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

/// Every line of /etc/passwd that is one.
pub fn all() -> io::Result<Vec<Account>> {
    Ok(accounts(&fs::read("/etc/passwd")?))
}

/// `name:password:uid:gid:comment:home:shell`, passwd(5).
fn accounts(table: &[u8]) -> Vec<Account> {
    let lines = table.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
            let [name, _, uid, gid, _, home, ..] = fields[..] else {
                return None;
            };
            let text = |bytes| std::str::from_utf8(bytes).ok();
            Some(Account {
                name: text(name).filter(|name| !name.is_empty())?.to_owned(),
                uid: text(uid)?.parse().ok()?,
                gid: text(gid)?.parse().ok()?,
                home: PathBuf::from(OsStr::from_bytes(home)),
            })
        })
        .collect()
}

/// The user's name, or the number if /etc/passwd has none.
pub fn name(uid: u32) -> String {
    let found = all().unwrap_or_default();
    let found = found.into_iter().find(|account| account.uid == uid);
    found.map_or_else(|| uid.to_string(), |account| account.name)
}

/// The account with this name or number, if /etc/passwd has it.
pub fn account(word: &str) -> io::Result<Option<Account>> {
    let is_it = |account: &Account| account.name == word || word.parse() == Ok(account.uid);
    Ok(all()?.into_iter().find(is_it))
}

/// All groups of a user.
pub fn all_groups(account: &Account) -> Vec<u32> {
    let table = fs::read("/etc/group").unwrap_or_default();
    let mut groups = groups_of(&table, &account.name);
    groups.push(account.gid);
    groups
}

/// The groups that name the user as a member; group(5): `name:password:gid:member,member`.
fn groups_of(table: &[u8], name: &str) -> Vec<u32> {
    let lines = table.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
            let [_, _, gid, members, ..] = fields[..] else {
                return None;
            };
            let mut members = members.split(|&byte| byte == b',');
            members.find(|member| *member == name.as_bytes())?;
            std::str::from_utf8(gid).ok()?.parse().ok()
        })
        .collect()
}

/// Whether a group has a member beside root; `true` if that can't be read.
pub fn has_members(gid: u32) -> bool {
    let (Ok(users), Ok(groups)) = (all(), fs::read("/etc/group")) else {
        return true;
    };
    let is_first = users.iter().any(|user| user.gid == gid && user.uid != 0);
    is_first || has_named(&groups, gid)
}

fn has_named(table: &[u8], gid: u32) -> bool {
    let gid = gid.to_string();
    table.split(|&byte| byte == b'\n').any(|line| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [_, _, number, members, ..] = fields[..] else {
            return false;
        };
        let mut members = members.split(|&byte| byte == b',');
        number == gid.as_bytes() && members.any(|member| !matches!(member, b"" | b"root"))
    })
}

/// Becomes this user for good, with its groups and without any capability, and then checks that it is so.
pub fn become_user(account: &Account) -> io::Result<()> {
    let table = match fs::read("/etc/group") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        table => table?,
    };
    let mut groups = groups_of(&table, &account.name);
    groups.push(account.gid);
    become_ids(account.uid, account.gid, groups)
}

/// The same for a user who is not in /etc/passwd, whose groups are not known: with no group but `gid`.
pub fn become_number(uid: u32, gid: u32) -> io::Result<()> {
    become_ids(uid, gid, vec![gid])
}

fn become_ids(uid: u32, gid: u32, mut groups: Vec<u32>) -> io::Result<()> {
    groups.sort_unstable();
    groups.dedup();
    let wanted: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&wanted)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if uid.is_root() {
        return Ok(());
    }
    drop_capabilities()?;
    let (uids, gids) = (getresuid()?, getresgid()?);
    let mut has = getgroups()?;
    has.sort_unstable_by_key(|group| group.as_raw());
    let is_done = [uids.real, uids.effective, uids.saved] == [uid; 3]
        && [gids.real, gids.effective, gids.saved] == [gid; 3]
        && has == wanted
        && setuid(Uid::from_raw(0)).is_err();
    // To be half another user is an error.
    is_done
        .then_some(())
        .ok_or_else(|| io::Error::other("some of root's rights could not be given up"))
}

/// A change of the uid usually drops them (capabilities(7)), but a host can turn that off.
fn drop_capabilities() -> io::Result<()> {
    // _LINUX_CAPABILITY_VERSION_3, and this process.
    let header: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted and inheritable, of 32 capabilities and of the next 32.
    let none = [0_u32; 6];
    // SAFETY: capset(2) reads a header of two and a body of six numbers of 32 bits, which are there.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}

/// Whether this process is in that group.
pub fn is_member(gid: u32) -> bool {
    let gid = Gid::from_raw(gid);
    Gid::effective() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid))
}

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
    fn an_account_is_a_line_of_passwd() {
        let table = b"root:x:0:0:root:/root:/bin/sh\n# x\nwww-data:x:33:34:a,b:/var/www:\nbad:x:1\n:x:1:1::/:\n\
            odd:x:-1:0::/:\nbig:x:4294967296:0::/:\n+::::::\n";
        let found = accounts(table);
        let names: Vec<&str> = found.iter().map(|account| &*account.name).collect();
        assert_eq!(names, ["root", "www-data"]);
        assert_eq!((found[1].uid, found[1].gid), (33, 34));
        assert_eq!(found[1].home, PathBuf::from("/var/www"));
    }

    #[test]
    fn groups_are_those_that_name_the_user() {
        let table = b"root:x:0:\nssl:x:7:ann,www-data\nweb:x:8:www-data\nno:x:9:www-datax,www\nbad:x:z:www-data\n";
        assert_eq!(groups_of(table, "www-data"), [7, 8]);
        assert_eq!(groups_of(table, "ann"), [7]);
        assert_eq!(groups_of(table, ""), [0]);
        let table = b"root:x:0:\nssl:x:7:root\nweb:x:8:root,ann\nx:x:9";
        let has = [0, 7, 8, 9, 10].map(|gid| has_named(table, gid));
        assert_eq!(has, [false, false, true, false, false]);
    }

    #[test]
    fn every_host_has_root() {
        assert_eq!(user("root").unwrap(), Some(0));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(user("no such user").unwrap(), None);
    }
}
