//! The entry point of `awatch`.

fn main() -> std::process::ExitCode {
    akeys::awatch::run()
}
