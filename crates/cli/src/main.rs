//! The `lifeboat` program.

fn main() -> std::process::ExitCode {
    lifeboat_cli::main()
}
