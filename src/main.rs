//! The binary: hands over to the table of applets.

fn main() -> std::process::ExitCode {
    polycgi::applet::main()
}
