// The functions of examples/functions/words.c, in Rust.
mod atalanta;

use atalanta::{quoted, Answer, Thrown};

fn greet(given: &str) -> Answer {
    // What stands in the quotes is JSON already.
    let who = given.trim().strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]"));
    match who {
        Some(who) => atalanta::json(&format!("\"Hello, {}!\"", who)),
        None => Err(Thrown { name: "TypeError", message: "greet wants a name".into(), data: Some(given.into()) }),
    }
}

fn shout(_: &str) -> Answer {
    atalanta::bytes(&atalanta::input().to_ascii_uppercase())
}

fn words(_: &str) -> Answer {
    let text = String::from_utf8_lossy(&atalanta::input()).into_owned();
    for word in text.split_whitespace() {
        atalanta::json(&format!("{{\"word\":{},\"length\":{}}}\n", quoted(word), word.len()))?;
    }
    Ok(())
}

fn main() {
    atalanta::serve(&[
        ("greet", greet, r#"{"parameters":[{"name":"who","type":{"type":"string"}}],"result":{"type":"string"},"pure":true}"#),
        ("shout", shout, r#"{"parameters":[{"name":"text","type":"bytes"}],"result":"bytes"}"#),
        (
            "words",
            words,
            r#"{"parameters":[{"name":"text","type":"bytes"}],"stream":"both","result":{"type":"object","required":["word","length"],"properties":{"word":{"type":"string"},"length":{"type":"integer"}}}}"#,
        ),
    ]);
}
