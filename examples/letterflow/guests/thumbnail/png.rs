//! PNG as the steps of this workflow write it: grey or RGB without transparency, not interlaced.

use crate::{deflate, inflate};

const MOST_PIXELS: usize = 40 << 20;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

#[derive(Clone)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// 1 grey, 3 colour
    pub channels: usize,
    pub dpi: u32,
    pub samples: Vec<u8>,
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut value = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        value ^= u32::from(*byte);
        for _ in 0..8 {
            value = value >> 1 ^ (value & 1).wrapping_neg() & 0xedb8_8320;
        }
    }
    !value
}

pub fn read(bytes: &[u8]) -> Result<Picture, String> {
    if !bytes.starts_with(SIGNATURE) {
        return Err("is not a PNG".into());
    }
    let mut rest = &bytes[8..];
    let (mut page, mut bits, mut packed) = (None, 0, Vec::new());
    loop {
        let length = number(rest) as usize;
        if rest.len() < 12 || length > rest.len() - 12 {
            return Err(format!("is cut off after {} bytes", bytes.len()));
        }
        let (name, data) = (&rest[4..8], &rest[8..8 + length]);
        if crc(&[name, data]) != number(&rest[8 + length..]) {
            return Err(format!("is damaged near byte {}", bytes.len() - rest.len()));
        }
        match (name, &mut page) {
            (b"IHDR", None) if length == 13 => {
                let head = read_head(data)?;
                bits = usize::from(data[8]);
                page = Some(head);
            }
            (b"pHYs", Some(page)) if length == 9 && data[8] == 1 => {
                page.dpi = ((f64::from(number(data)) * 0.0254).round() as u32).clamp(10, 9600);
            }
            (b"IDAT", _) => packed.extend_from_slice(data),
            (b"IEND", _) => break,
            _ => {}
        }
        rest = &rest[length + 12..];
    }
    let mut page = page.ok_or("has no head")?;
    let line = (page.width * page.channels * bits + 7) / 8;
    let mut lines = inflate::inflate(&packed, (line + 1) * page.height)?;
    let step = if bits == 8 { page.channels } else { 1 };
    undo_filters(&mut lines, line, step)?;
    page.samples = Vec::with_capacity(page.width * page.height * page.channels);
    for row in lines.chunks_exact(line + 1) {
        if bits == 8 {
            page.samples.extend_from_slice(&row[1..]);
        } else {
            page.samples.extend((0..page.width).map(|x| (row[1 + x / 8] >> (7 - x % 8) & 1) * 255));
        }
    }
    Ok(page)
}

fn read_head(data: &[u8]) -> Result<Picture, String> {
    let (width, height) = (number(data) as usize, number(&data[4..]) as usize);
    if width == 0 || height == 0 || width > MOST_PIXELS / height {
        return Err(format!("has {width} × {height} pixels; at most {} million can be read", MOST_PIXELS >> 20));
    }
    let channels = match (data[9], data[8], data[12]) {
        (0, 1 | 8, 0) => 1,
        (2, 8, 0) => 3,
        (kind, bits, interlaced) => {
            return Err(format!("is a PNG of kind {kind}/{bits}/{interlaced}, which is not read here"));
        }
    };
    Ok(Picture { width, height, channels, dpi: 200, samples: Vec::new() })
}

fn undo_filters(lines: &mut [u8], line: usize, step: usize) -> Result<(), String> {
    let mut above = vec![0; line];
    for row in lines.chunks_exact_mut(line + 1) {
        let (filter, row) = row.split_at_mut(1);
        for at in 0..line {
            let left = if at < step { 0 } else { row[at - step] };
            let corner = if at < step { 0 } else { above[at - step] };
            let guess = match filter[0] {
                0 => 0,
                1 => left,
                2 => above[at],
                3 => ((u16::from(left) + u16::from(above[at])) / 2) as u8,
                4 => nearest(left, above[at], corner),
                other => return Err(format!("is damaged: it has a line of kind {other}")),
            };
            row[at] = row[at].wrapping_add(guess);
        }
        above.copy_from_slice(row);
    }
    Ok(())
}

fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let far = |value: u8| (guess - i16::from(value)).abs();
    if far(left) <= far(above) && far(left) <= far(corner) {
        left
    } else if far(above) <= far(corner) {
        above
    } else {
        corner
    }
}

pub fn write(page: &Picture) -> Vec<u8> {
    // Grey pages with 16 levels take half a byte a pixel.
    let packs = page.channels == 1 && page.samples.iter().all(|value| value % 17 == 0);
    let row = page.width * page.channels;
    let mut lines = Vec::with_capacity((row + 1) * page.height);
    let mut above = vec![0; row];
    for samples in page.samples.chunks_exact(row) {
        if packs {
            lines.push(0);
            lines.extend(samples.chunks(2).map(|pair| pair[0] / 17 << 4 | pair.get(1).unwrap_or(&0) / 17));
        } else {
            lines.push(2);
            lines.extend(samples.iter().zip(&above).map(|(value, above)| value.wrapping_sub(*above)));
            above.copy_from_slice(samples);
        }
    }
    let mut out = SIGNATURE.to_vec();
    let mut head = Vec::new();
    head.extend_from_slice(&(page.width as u32).to_be_bytes());
    head.extend_from_slice(&(page.height as u32).to_be_bytes());
    head.extend_from_slice(&[if packs { 4 } else { 8 }, if page.channels == 3 { 2 } else { 0 }, 0, 0, 0]);
    let per_metre = ((f64::from(page.dpi) / 0.0254).round() as u32).to_be_bytes();
    chunk(&mut out, b"IHDR", &head);
    chunk(&mut out, b"pHYs", &[&per_metre[..], &per_metre[..], &[1]].concat());
    chunk(&mut out, b"IDAT", &deflate::deflate(&lines));
    chunk(&mut out, b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, name: &[u8], data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc(&[name, data]).to_be_bytes());
}
