//! Small changes of an input, the same ones at every run.

/// Numbers at the edge of what a field can hold.
const EDGES: [&str; 12] = [
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999999999",
    "1e400",
    "FFFFFFFF",
    "00000000",
];

/// Texts that parsers and terminals treat specially.
const TEXTS: [&[u8]; 14] = [
    b"\n",
    b"\r\n",
    b"\0",
    b"\x1b[2J",
    b"\xC2\x9B",
    b"\xFF",
    b"\xE2\x80\xAE",
    b"../",
    b"'\"\\",
    b"{}",
    b"[]",
    b"null",
    b"%%",
    b"&#x0;",
];

/// Makes changes.
pub(crate) struct Mutations<'a> {
    state: u64,
    others: &'a [&'a [u8]],
}

impl<'a> Mutations<'a> {
    pub(crate) fn new(seed: usize, others: &'a [&'a [u8]]) -> Self {
        Self { state: seed as u64 ^ 0x9E37_79B9_7F4A_7C15, others }
    }

    /// One to four changes.
    pub(crate) fn of(&mut self, data: &[u8]) -> Vec<u8> {
        let mut changed = data.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut changed);
        }
        changed
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let place = self.below(data.len() + 1);
        let end = (place + 1 + self.below(16)).min(data.len());
        match self.below(9) {
            0 if place < data.len() => data[place] ^= 1 << self.below(8),
            1 if place < data.len() => data[place] = u8::try_from(self.below(256)).unwrap_or_default(),
            2 => drop(data.drain(place.min(end)..end)),
            3 => data.truncate(place),
            4 => {
                let part = data[place.min(end)..end].to_vec();
                insert(data, place, &part);
            }
            5 => insert(data, place, TEXTS[self.below(TEXTS.len())]),
            6 => self.number(data, place),
            7 => self.line(data),
            _ => {
                let other = self.others[self.below(self.others.len())];
                let begin = self.below(other.len() + 1);
                let part = &other[begin..(begin + 64).min(other.len())];
                insert(data, place, part);
            }
        }
    }

    /// Puts an edge in place of the next number.
    fn number(&mut self, data: &mut Vec<u8>, place: usize) {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let Some(begin) = data[place..].iter().position(is_digit).map(|at| place + at) else { return };
        let end = data[begin..].iter().position(|byte| !is_digit(byte)).map_or(data.len(), |at| begin + at);
        data.drain(begin..end);
        insert(data, begin, EDGES[self.below(EDGES.len())].as_bytes());
    }

    /// Takes a line away, or puts it there twice.
    fn line(&mut self, data: &mut Vec<u8>) {
        let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.is_empty() {
            return;
        }
        let (chosen, twice) = (self.below(lines.len()), self.below(2) == 0);
        let copies = |number: usize| if number == chosen { 2 * usize::from(twice) } else { 1 };
        *data = lines.iter().enumerate().flat_map(|(number, line)| line.repeat(copies(number))).collect();
    }

    /// A number below this one; splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }
}

fn insert(data: &mut Vec<u8>, place: usize, part: &[u8]) {
    let rest = data.split_off(place);
    data.extend_from_slice(part);
    data.extend(rest);
}
