//! The hot path of the front: that it calls nobody, what it asks of the kernel, what it leaves to the normal front, and
//! that this finds everything as it was.
mod code;

use std::path::Path;
use std::process::Command;

use super::util::{Dir, installed, run};
use code::Code;

/// No C library has started yet: a call of anything is a jump through a pointer that nobody has filled in.
#[test]
fn nothing_leads_out_of_it_but_the_way_to_the_c_library() {
    let ways = Code::of(&installed("polycgi")).ways_out();
    assert!(ways.is_empty(), "{ways:#?}");
}

/// The test above, shown to fail: programs like ours, each with one thing in its hot path that must not be there.
#[test]
fn what_must_not_be_there_is_found() {
    let dir = Dir::new();
    let sound = planted(&dir, "sound").ways_out();
    assert!(sound.is_empty(), "{sound:#?}");
    for (plant, found) in [
        // memcpy and memcmp, by the pointer in the GOT.
        ("array_copy", "call *"),
        ("slice_equals", "call *"),
        ("function", "elsewhere"),
        ("pointer", "indirect"),
        ("thread_local", "thread-local"),
    ] {
        let ways = planted(&dir, plant).ways_out();
        assert!(
            ways.iter().any(|way| way.contains(found)),
            "{plant}: {ways:#?}"
        );
    }
}

/// planted.rs with this planted in it, linked as the Makefile links ours.
fn planted(dir: &Dir, plant: &str) -> Code {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/express/planted.rs");
    let program = dir.join(plant);
    run(
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition=2024", "-Copt-level=3", "-Cpanic=abort"])
            .args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static"])
            .arg("-Clink-arg=-Wl,--entry=express_start")
            .arg(format!("--cfg=plant=\"{plant}\""))
            .arg("-o")
            .args([&program, &source]),
        b"",
    )
    .success();
    Code::of(&program)
}
