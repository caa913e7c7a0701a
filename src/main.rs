//! The `veridical` command; see `veridical help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
