//! The entry point of `afiles`.

fn main() -> std::process::ExitCode {
    akeys::afiles::run()
}
