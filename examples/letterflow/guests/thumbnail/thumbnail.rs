//! thumbnail INPUT.png OUTPUT.png --dpi N
//!
//! Makes a page smaller, to N dots an inch by the page's own resolution, each new pixel being the mean of those it covers.
//! A page is never made larger. Prints `{"width":…,"height":…}`. Exit code 2 when the page cannot be used.

mod deflate;
mod inflate;
mod png;

use png::Picture;
use std::{env, fs, process};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, output, flag, dpi] = match <[String; 4]>::try_from(arguments) {
        Ok(given) => given,
        Err(_) => usage(),
    };
    if flag != "--dpi" {
        usage();
    }
    let dpi = match dpi.parse::<u32>() {
        Ok(dpi) if (10..=1200).contains(&dpi) => dpi,
        _ => refuse(&format!("--dpi {dpi} is not a number from 10 to 1200")),
    };
    if let Err(reason) = run(&input, &output, dpi) {
        refuse(&reason);
    }
}

fn run(input: &str, output: &str, dpi: u32) -> Result<(), String> {
    let bytes = fs::read(input).map_err(|error| format!("cannot read {input}: {error}"))?;
    let page = png::read(&bytes).map_err(|reason| format!("{input} {reason}"))?;
    let small = shrink(&page, dpi);
    fs::write(output, png::write(&small)).map_err(|error| format!("cannot write {output}: {error}"))?;
    println!("{{\"width\":{},\"height\":{}}}", small.width, small.height);
    Ok(())
}

fn usage() -> ! {
    eprintln!("usage: thumbnail INPUT.png OUTPUT.png --dpi N");
    process::exit(64)
}

fn refuse(reason: &str) -> ! {
    eprintln!("thumbnail: {reason}");
    process::exit(2)
}

/// The pixels that one new pixel covers along one side, with the part of each, in 256ths.
fn covered(length: usize, new_length: usize) -> Vec<Vec<(usize, u64)>> {
    (0..new_length)
        .map(|at| {
            let from = at * length * 256 / new_length;
            let to = (at + 1) * length * 256 / new_length;
            (from / 256..(to + 255) / 256)
                .map(|place| (place, (to.min(place * 256 + 256) - from.max(place * 256)) as u64))
                .collect()
        })
        .collect()
}

fn shrink(page: &Picture, dpi: u32) -> Picture {
    if dpi >= page.dpi {
        return page.clone();
    }
    let scaled = |length: usize| (length * dpi as usize / page.dpi as usize).max(1);
    let (width, height) = (scaled(page.width), scaled(page.height));
    let columns = covered(page.width, width);
    let mut samples = Vec::with_capacity(width * height * page.channels);
    for rows in covered(page.height, height) {
        for columns in &columns {
            for channel in 0..page.channels {
                let (mut sum, mut weight) = (0, 0);
                for (row, tall) in &rows {
                    for (column, wide) in columns {
                        let at = (row * page.width + column) * page.channels + channel;
                        sum += u64::from(page.samples[at]) * tall * wide;
                        weight += tall * wide;
                    }
                }
                samples.push(level((sum + weight / 2) / weight));
            }
        }
    }
    Picture { width, height, channels: page.channels, dpi, samples }
}

/// One of 16 levels: enough for text, and a third of the size.
fn level(value: u64) -> u8 {
    ((value * 15 + 127) / 255 * 17) as u8
}
