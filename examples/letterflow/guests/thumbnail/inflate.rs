//! RFC 1950 and 1951, reading.

const LENGTHS: [(usize, u32); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5),
    (227, 5), (258, 0),
];
const DISTANCES: [(usize, u32); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5), (97, 5),
    (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11),
    (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const DAMAGED: &str = "is damaged: its data cannot be unpacked";

struct Bits<'a> {
    from: &'a [u8],
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.count <= 56 {
            let (first, rest) = match self.from.split_first() {
                Some(parts) => parts,
                None => return,
            };
            self.held |= u64::from(*first) << self.count;
            self.count += 8;
            self.from = rest;
        }
    }

    fn take(&mut self, count: u32) -> Result<usize, String> {
        if self.count < count {
            self.fill();
        }
        if self.count < count {
            return Err(DAMAGED.into());
        }
        let value = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.count -= count;
        Ok(value as usize)
    }
}

/// One entry for each pattern as wide as the longest code: symbol and length, 0 where no code leads.
struct Code {
    width: u32,
    entries: Vec<(u16, u8)>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Code, String> {
        let width = u32::from(*lengths.iter().max().unwrap_or(&0)).max(1);
        let mut entries = vec![(0, 0); 1 << width];
        let mut code = 0_u32;
        for length in 1..=width {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, given)| u32::from(**given) == length) {
                if code >> length != 0 {
                    return Err(DAMAGED.into());
                }
                let turned = (code.reverse_bits() >> (32 - length)) as usize;
                for place in (turned..1 << width).step_by(1 << length) {
                    entries[place] = (symbol as u16, length as u8);
                }
                code += 1;
            }
            code <<= 1;
        }
        Ok(Code { width, entries })
    }

    fn next(&self, bits: &mut Bits) -> Result<usize, String> {
        if bits.count < 15 {
            bits.fill();
        }
        let (symbol, length) = self.entries[(bits.held & ((1 << self.width) - 1)) as usize];
        if length == 0 {
            return Err(DAMAGED.into());
        }
        bits.take(u32::from(length))?;
        Ok(usize::from(symbol))
    }
}

fn read_codes(bits: &mut Bits) -> Result<(Code, Code), String> {
    let (symbols, distances, sent) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut lengths = [0; 19];
    for place in &ORDER[..sent] {
        lengths[*place] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths)?;
    let mut all: Vec<u8> = Vec::new();
    while all.len() < symbols + distances {
        let (value, repeat) = match code.next(bits)? {
            16 => (*all.last().ok_or(DAMAGED)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        all.resize(all.len() + repeat, value);
    }
    if all.len() > symbols + distances {
        return Err(DAMAGED.into());
    }
    Ok((Code::new(&all[..symbols])?, Code::new(&all[symbols..])?))
}

fn fixed_codes() -> Result<(Code, Code), String> {
    let lengths: Vec<u8> = (0..288).map(|at| if at < 144 { 8 } else if at < 256 { 9 } else if at < 280 { 7 } else { 8 }).collect();
    Ok((Code::new(&lengths)?, Code::new(&[5; 30])?))
}

/// The first `size` bytes of a zlib stream.
pub fn inflate(from: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if from.len() < 2 || from[0] & 15 != 8 {
        return Err(DAMAGED.into());
    }
    let mut bits = Bits { from: &from[2..], held: 0, count: 0 };
    let mut out = Vec::with_capacity(size + 258);
    let mut last = 0;
    while last == 0 && out.len() < size {
        last = bits.take(1)?;
        let (symbols, distances) = match bits.take(2)? {
            0 => {
                bits.take(bits.count & 7)?;
                let length = bits.take(16)?;
                bits.take(16)?;
                for _ in 0..length {
                    out.push(bits.take(8)? as u8);
                }
                continue;
            }
            1 => fixed_codes()?,
            2 => read_codes(&mut bits)?,
            _ => return Err(DAMAGED.into()),
        };
        loop {
            let symbol = symbols.next(&mut bits)?;
            if symbol == 256 || out.len() >= size {
                break;
            }
            if symbol < 256 {
                out.push(symbol as u8);
                continue;
            }
            let (base, extra) = LENGTHS.get(symbol - 257).ok_or(DAMAGED)?;
            let length = base + bits.take(*extra)?;
            let (base, extra) = DISTANCES.get(distances.next(&mut bits)?).ok_or(DAMAGED)?;
            let start = out.len().checked_sub(base + bits.take(*extra)?).ok_or(DAMAGED)?;
            for at in start..start + length {
                out.push(out[at]);
            }
        }
    }
    if out.len() < size {
        return Err(DAMAGED.into());
    }
    out.truncate(size);
    Ok(out)
}
