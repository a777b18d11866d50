//! Tries what Rust's standard library needs of its host; test/toolchains.test.ts says what each command must print.
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, process, thread};

fn kind<Value>(result: io::Result<Value>) -> &'static str {
    match result.map_err(|error| error.kind()) {
        Ok(_) => "none",
        Err(ErrorKind::NotFound) => "missing",
        Err(ErrorKind::AlreadyExists) => "exists",
        Err(ErrorKind::PermissionDenied) => "refused",
        Err(_) => "other",
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments[0].as_str() {
        "arguments" => arguments[1..].iter().for_each(|argument| println!("{argument}")),
        "environment" => {
            let mut all: Vec<String> = env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            all.sort();
            println!("{}", all.join("\n"));
        }
        "stdin" => {
            for (index, line) in io::stdin().lock().lines().enumerate() {
                println!("{} {}", index + 1, line?.to_uppercase());
            }
        }
        "files" => files(Path::new(&arguments[1]))?,
        "directories" => directories(Path::new(&arguments[1]))?,
        "locked" => {
            println!("read {}", fs::read_to_string(&arguments[1])?);
            println!("refused {}", OpenOptions::new().write(true).open(&arguments[1]).is_err());
            let mut file = File::open(&arguments[1])?;
            println!("refused {}", file.write(b"x").is_err());
        }
        "exit" => process::exit(arguments[1].parse().unwrap_or(70)),
        "clocks" => {
            let (before, wall) = (Instant::now(), SystemTime::now());
            thread::sleep(Duration::from_millis(30));
            let since = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let slept = before.elapsed();
            println!("{} {} {}", since > 1_704_067_200, slept >= Duration::from_millis(30), slept < Duration::from_secs(20));
        }
        "random" => println!("{:016x}{:016x}", RandomState::new().build_hasher().finish(), {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u8(1);
            hasher.finish()
        }),
        "panic" => outer(),
        "recursion" => println!("{}", deeper(0)),
        _ => process::exit(64),
    }
    Ok(())
}

fn files(folder: &Path) -> io::Result<()> {
    let at = |name: &str| folder.join(name);
    fs::write(at("a"), "hello, world")?;
    println!("read {}", fs::read_to_string(at("a"))?);
    OpenOptions::new().append(true).open(at("a"))?.write_all(b"!")?;
    let mut file = OpenOptions::new().read(true).write(true).open(at("a"))?;
    file.seek(SeekFrom::Start(7))?;
    file.write_all(b"there")?;
    file.seek(SeekFrom::End(-6))?;
    let mut end = String::new();
    file.read_to_string(&mut end)?;
    println!("end {end}");
    file.set_len(5)?;
    drop(file);
    println!("size {}", fs::metadata(at("a"))?.len());
    fs::rename(at("a"), at("b"))?;
    println!("renamed {} {}", kind(fs::metadata(at("a"))), fs::read_to_string(at("b"))?);
    println!("exclusive {}", kind(OpenOptions::new().create_new(true).write(true).open(at("b"))));
    println!("open {}", kind(File::open(at("none"))));
    let mut big = File::create(at("big"))?;
    for _ in 0..48 {
        big.write_all(&[0; 1 << 16])?;
    }
    drop(big);
    println!("big {}", fs::metadata(at("big"))?.len());
    fs::remove_file(at("big"))?;
    fs::remove_file(at("b"))?;
    println!("left {}", fs::read_dir(folder)?.count());
    Ok(())
}

fn directories(folder: &Path) -> io::Result<()> {
    let at = |name: &str| folder.join(name);
    fs::create_dir_all(at("one/two/three"))?;
    for name in ["one/b", "one/a", "one/two/c", "one/two/three/ü d"] {
        fs::write(at(name), "")?;
    }
    println!("again {}", kind(fs::create_dir(at("one"))));
    walk(folder, folder)?;
    println!("full {}", fs::remove_dir(at("one/two")).is_err());
    fs::rename(at("one/two"), at("moved"))?;
    let mut names: Vec<_> = fs::read_dir(at("moved"))?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    names.sort();
    println!("moved {} {}", names[0].to_string_lossy(), kind(fs::metadata(at("one/two"))));
    for index in 0..500 {
        fs::write(at(&format!("moved/file-{index:03}")), "")?;
    }
    println!("many {}", fs::read_dir(at("moved"))?.count());
    fs::remove_dir_all(at("one"))?;
    fs::remove_dir_all(at("moved"))?;
    println!("left {}", fs::read_dir(folder)?.count());
    Ok(())
}

fn walk(folder: &Path, top: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        let is_folder = entry.file_type()?.is_dir();
        let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
        println!("{} {name}", if is_folder { "folder" } else { "file" });
        if is_folder {
            walk(&path, top)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn outer() {
    panic!("no paper left");
}

#[inline(never)]
fn deeper(depth: i64) -> i64 {
    if depth < 0 {
        return 0;
    }
    // Read from memory, so that the compiler keeps the recursion.
    let next = unsafe { std::ptr::read_volatile(&(depth + 1)) };
    deeper(next) + unsafe { std::ptr::read_volatile(&1) }
}
