//! The registry client against servers that misbehave on purpose.

mod auth;
mod retry;
mod script;
mod verbs;

use std::time::Duration;

use layerlift::base::env::Environment;
use layerlift::model::reference::{Reference, Repository};
use layerlift::registry::{Client, Options};
use script::Server;

/// A client with these variables, a budget and nothing from this machine.
fn client(environment: &[(&str, &str)], budget: Duration) -> Client {
    let environment: Environment = environment.iter().copied().collect();
    Client::new(Options { budget, ..Options::new(&environment) }).expect("client")
}

/// A client without credentials and with a few seconds.
fn anonymous() -> Client {
    client(&[], Duration::from_secs(5))
}

/// The repository `app` of a server.
fn repository(server: &Server) -> Repository {
    format!("{}/app", server.host).parse().expect("repository")
}

/// The reference `app:main` of a server.
fn reference(server: &Server) -> Reference {
    repository(server).with_tag("main").expect("reference")
}
