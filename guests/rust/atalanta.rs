//! Functions of a Rust program for Atalanta. Copy this file beside yours; docs/functions.md says how a function is called. It needs nothing but the standard library.
//!
//! ```ignore
//! mod atalanta;
//! fn greet(given: &str) -> atalanta::Answer { atalanta::json(&format!("\"Hello, {}!\"", …)) }
//! fn main() { atalanta::serve(&[("greet", greet, r#"{"parameters":[{"name":"who","type":{"type":"string"}}],"result":{"type":"string"}}"#)]) }
//! ```
//! Build it with: rustc --edition 2021 --target wasm32-wasi -O greet.rs (wasm32-wasip1 from 1.78 on)

use std::io::{Read, Write};

/// What a function throws: a name and a message, and JSON beside it.
pub struct Thrown {
    pub name: &'static str,
    pub message: String,
    pub data: Option<String>,
}

pub type Answer = Result<(), Thrown>;

/// A name, the function, and its description as JSON: `{"parameters": […], "result": …}`. The function is given its arguments as a JSON array; bytes, where
/// it takes them, are on stdin and `null` in the array.
pub type Function = (&'static str, fn(&str) -> Answer, &'static str);

/// Prints JSON as the result, or as one piece of it.
pub fn json(text: &str) -> Answer {
    bytes(text.as_bytes())
}

/// Prints bytes as the result, or as one piece of it.
pub fn bytes(bytes: &[u8]) -> Answer {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Thrown { name: "WriteError", message: error.to_string(), data: None })
}

/// All of the bytes that the function was given.
pub fn input() -> Vec<u8> {
    let mut all = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut all);
    all
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            sign if (sign as u32) < 32 => out.push_str(&format!("\\u{:04x}", sign as u32)),
            sign => out.push(sign),
        }
    }
    out.push('"');
    out
}

/// Calls the function that is asked for, or says which there are.
pub fn serve(functions: &[Function]) {
    let words: Vec<String> = std::env::args().collect();
    let name = words.get(1).map(String::as_str).unwrap_or("");
    if name == "atalanta:describe" {
        let all: Vec<String> =
            functions.iter().map(|(name, _, about)| format!("{}:{}", quoted(name), about)).collect();
        print!("{{\"version\":1,\"functions\":{{{}}}}}", all.join(","));
        return;
    }
    let result = match functions.iter().find(|(known, _, _)| *known == name) {
        Some((_, call, _)) => match words.get(2) {
            Some(given) => call(given),
            None => call(&String::from_utf8_lossy(&input())),
        },
        None => Err(Thrown { name: "NoSuchFunction", message: name.to_string(), data: None }),
    };
    if let Err(Thrown { name, message, data }) = result {
        let data = data.map(|data| format!(",\"data\":{}", data)).unwrap_or_default();
        eprintln!("\natalanta-error: {{\"name\":{},\"message\":{}{}}}", quoted(name), quoted(&message), data);
        std::process::exit(1);
    }
}
