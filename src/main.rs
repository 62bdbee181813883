use std::process::ExitCode;

fn main() -> ExitCode {
    hydrant::commands::main()
}
