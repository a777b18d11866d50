//! RFC 1950 and 1951, writing. A thumbnail is small: matches are found by hash chains, and each block has a code of its own.

const WINDOW: usize = 32768;
const TRIES: usize = 48;
const BLOCK: usize = 16384;
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    fn put(&mut self, value: usize, count: u32) {
        self.held |= (value as u64) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}

enum Token {
    Byte(u8),
    Match { length: usize, distance: usize },
}

/// Symbol, extra bits and their value; `grain` is how many symbols share one number of extra bits, as a power of two.
fn coded(value: usize, grain: u32) -> (usize, u32, usize) {
    let extra = (usize::BITS - value.leading_zeros()).saturating_sub(grain + 1);
    (((extra as usize) << grain) + (value >> extra), extra, value & ((1 << extra) - 1))
}

fn length_symbol(length: usize) -> (usize, u32, usize) {
    if length == 258 {
        return (285, 0, 0);
    }
    let (symbol, extra, rest) = coded(length - 3, 2);
    (257 + symbol, extra, rest)
}

struct Code {
    lengths: Vec<u32>,
    codes: Vec<usize>,
}

impl Code {
    /// A Huffman code with no length over `limit`: while one is longer, rare symbols are counted as less rare.
    fn new(uses: &[u32], limit: u32) -> Code {
        let mut weights = uses.to_vec();
        let mut lengths = measure(&weights);
        while lengths.iter().any(|length| *length > limit) {
            for weight in weights.iter_mut().filter(|weight| **weight > 0) {
                *weight = *weight / 2 + 1;
            }
            lengths = measure(&weights);
        }
        let (mut codes, mut code) = (vec![0; uses.len()], 0_u32);
        for length in 1..=limit {
            for symbol in (0..uses.len()).filter(|symbol| lengths[*symbol] == length) {
                codes[symbol] = (code.reverse_bits() >> (32 - length)) as usize;
                code += 1;
            }
            code <<= 1;
        }
        Code { lengths, codes }
    }

    fn put(&self, writer: &mut Writer, symbol: usize) {
        writer.put(self.codes[symbol], self.lengths[symbol]);
    }

    fn sent(&self, least: usize) -> usize {
        self.lengths.iter().rposition(|length| *length > 0).map_or(least, |last| least.max(last + 1))
    }
}

fn measure(weights: &[u32]) -> Vec<u32> {
    let mut lengths = vec![0; weights.len()];
    let mut open: Vec<(u32, Vec<usize>)> =
        (0..weights.len()).filter(|at| weights[*at] > 0).map(|at| (weights[at], vec![at])).collect();
    if open.len() == 1 {
        lengths[open[0].1[0]] = 1;
    }
    while open.len() > 1 {
        open.sort_by(|one, other| other.0.cmp(&one.0));
        if let (Some(one), Some(mut other)) = (open.pop(), open.pop()) {
            other.1.extend(one.1);
            for symbol in &other.1 {
                lengths[*symbol] += 1;
            }
            open.push((one.0 + other.0, other.1));
        }
    }
    lengths
}

fn put_block(writer: &mut Writer, tokens: &[Token], last: bool) {
    let (mut uses, mut far_uses) = (vec![0; 286], vec![0; 30]);
    uses[256] = 1;
    for token in tokens {
        match token {
            Token::Byte(byte) => uses[usize::from(*byte)] += 1,
            Token::Match { length, distance } => {
                uses[length_symbol(*length).0] += 1;
                far_uses[coded(distance - 1, 1).0] += 1;
            }
        }
    }
    let (symbols, distances) = (Code::new(&uses, 15), Code::new(&far_uses, 15));
    let (symbol_count, distance_count) = (symbols.sent(257), distances.sent(1));
    let lengths: Vec<u32> = [&symbols.lengths[..symbol_count], &distances.lengths[..distance_count]].concat();
    let mut length_uses = vec![0; 19];
    for length in &lengths {
        length_uses[*length as usize] += 1;
    }
    // A code of a single symbol would have room left, which not every reader takes.
    if length_uses.iter().filter(|uses| **uses > 0).count() == 1 {
        let other = usize::from(length_uses[0] > 0);
        length_uses[other] = 1;
    }
    let code = Code::new(&length_uses, 7);
    let sent = ORDER.iter().rposition(|place| code.lengths[*place] > 0).map_or(4, |last| 4.max(last + 1));
    writer.put(usize::from(last), 1);
    writer.put(2, 2);
    writer.put(symbol_count - 257, 5);
    writer.put(distance_count - 1, 5);
    writer.put(sent - 4, 4);
    for place in &ORDER[..sent] {
        writer.put(code.lengths[*place] as usize, 3);
    }
    for length in &lengths {
        code.put(writer, *length as usize);
    }
    for token in tokens {
        match token {
            Token::Byte(byte) => symbols.put(writer, usize::from(*byte)),
            Token::Match { length, distance } => {
                let (symbol, extra, rest) = length_symbol(*length);
                symbols.put(writer, symbol);
                writer.put(rest, extra);
                let (symbol, extra, rest) = coded(distance - 1, 1);
                distances.put(writer, symbol);
                writer.put(rest, extra);
            }
        }
    }
    symbols.put(writer, 256);
}

/// A zlib stream.
pub fn deflate(from: &[u8]) -> Vec<u8> {
    let mut writer = Writer { out: vec![0x78, 0x9c], ..Writer::default() };
    let mut newest = vec![usize::MAX; 1 << 15];
    let mut older = vec![usize::MAX; WINDOW];
    let mut tokens = Vec::with_capacity(BLOCK);
    let hash = |at: usize| {
        let three = u32::from(from[at]) | u32::from(from[at + 1]) << 8 | u32::from(from[at + 2]) << 16;
        (three.wrapping_mul(2_654_435_761) >> 17) as usize
    };
    let mut at = 0;
    while at < from.len() {
        let most = (from.len() - at).min(258);
        let (mut best, mut distance) = (2, 0);
        if most >= 3 {
            let mut candidate = newest[hash(at)];
            for _ in 0..TRIES {
                if candidate == usize::MAX || at - candidate > WINDOW {
                    break;
                }
                let length = (0..most).take_while(|index| from[candidate + index] == from[at + index]).count();
                if length > best {
                    (best, distance) = (length, at - candidate);
                }
                candidate = older[candidate % WINDOW];
                if best == most || candidate != usize::MAX && candidate >= at {
                    break;
                }
            }
        }
        let step = if distance > 0 { best } else { 1 };
        tokens.push(if distance > 0 { Token::Match { length: best, distance } } else { Token::Byte(from[at]) });
        for place in at..(at + step).min(from.len().saturating_sub(2)) {
            let slot = hash(place);
            older[place % WINDOW] = newest[slot];
            newest[slot] = place;
        }
        at += step;
        if tokens.len() == BLOCK && at < from.len() {
            put_block(&mut writer, &tokens, false);
            tokens.clear();
        }
    }
    put_block(&mut writer, &tokens, true);
    if writer.count > 0 {
        writer.put(0, 8 - writer.count);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in from {
        low = (low + u32::from(*byte)) % 65521;
        high = (high + low) % 65521;
    }
    writer.out.extend_from_slice(&(high << 16 | low).to_be_bytes());
    writer.out
}
