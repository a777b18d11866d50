// What a program sees through Rust's standard library.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

fn say<T: std::fmt::Debug>(what: &str, result: std::io::Result<T>) {
    match result {
        Ok(value) => println!("{what}: {value:?}"),
        Err(error) => println!("{what}: {:?}", error.kind()),
    }
}

fn main() -> std::io::Result<()> {
    say("write", fs::write("/d/new", "hello"));
    say("read", fs::read_to_string("/d/new"));
    say("append", OpenOptions::new().append(true).open("/d/new").and_then(|mut f| f.write(b" world")));
    say("made anew", OpenOptions::new().write(true).create_new(true).open("/d/new").map(|_| ()));
    let mut file = OpenOptions::new().read(true).write(true).open("/d/new")?;
    say("seek", file.seek(SeekFrom::End(-5)));
    say("overwrite", file.write_all(b"there"));
    say("rewind", file.rewind());
    let mut text = String::new();
    say("all of it", file.read_to_string(&mut text).map(|_| text.clone()));
    say("set_len", file.set_len(5));
    say("length", file.metadata().map(|found| found.len()));
    say("copy", fs::copy("/d/new", "/e/copy"));
    say("rename", fs::rename("/e/copy", "/d/dir/copy"));
    say("hard link", fs::hard_link("/d/dir/copy", "/d/hard"));
    say("create_dir", fs::create_dir("/d/dir"));
    say("create_dir_all", fs::create_dir_all("/d/x/y/z"));
    say("remove_dir", fs::remove_dir("/d/x"));
    for index in 0..700 {
        File::create(format!("/d/x/y/file-with-a-name-{index}"))?;
    }
    let count = fs::read_dir("/d/x/y")?.count();
    println!("entries: {count}");
    say("remove_dir_all", fs::remove_dir_all("/d/x"));
    say("gone", fs::metadata("/d/x").map(|_| ()));
    let mut names: Vec<String> = fs::read_dir("/d")?.map(|entry| {
        let entry = entry.unwrap();
        format!("{} {:?}", entry.file_name().to_string_lossy(), entry.file_type().map(|kind| (kind.is_dir(), kind.is_symlink())))
    }).collect();
    names.sort();
    println!("{}", names.join(", "));
    say("a directory read", fs::read("/d/dir").map(|_| ()));
    say("a file listed", fs::read_dir("/d/f").map(|_| ()));
    say("not there", File::open("/d/none").map(|_| ()));
    say("outside", File::open("/d/up/x").map(|_| ()));
    say("outside by ..", fs::read("/../etc/passwd").map(|_| ()));
    say("link", fs::read_link("/d/link"));
    say("canonical", Path::new("/d/dir/../f").try_exists());
    say("read-only", fs::write("/r/f", "x"));
    let mut given = Vec::new();
    say("stdin", std::io::stdin().read_to_end(&mut given));
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
    println!("{:?}", std::env::var("ümlaut"));
    std::process::exit(3);
}
