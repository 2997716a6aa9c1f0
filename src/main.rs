//! The `layerlift` binary: hands the process's arguments to the library and leaves with its exit code.

fn main() -> std::process::ExitCode {
    layerlift::cli::main()
}
