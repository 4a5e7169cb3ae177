//! Looks names up with Rust's std; one line for each argument KIND:NAME (see languages.rs).
use std::net::ToSocketAddrs;

fn main() {
    for argument in std::env::args().skip(1) {
        let (kind, name) = argument.split_once(':').expect("KIND:NAME");
        match (name, 80).to_socket_addrs() {
            Ok(found) => {
                let words: Vec<String> = found
                    .filter(|address| kind == "all" || address.is_ipv4())
                    .map(|address| address.ip().to_string())
                    .collect();
                println!("{argument} {}", words.join(" "));
            }
            Err(error) => println!("{argument} ! {error}"),
        }
    }
}
