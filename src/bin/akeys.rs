//! The entry point of `akeys`.

fn main() -> std::process::ExitCode {
    akeys::akeys::run()
}
