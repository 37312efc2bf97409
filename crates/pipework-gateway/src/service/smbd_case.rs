//! The letters that smbd puts into lower case before it looks for a pipe.
//!
//! smbd uses a table of its own, which is older than today's Unicode. It leaves over 500 capitals of the Basic
//! Multilingual Plane as they are, among them the Romanian Ș and Ț, Georgian, Cherokee and Coptic, and every letter
//! beyond that plane. This is the table of smbd 4.17.12, measured with every character: a client opened names of all of
//! them, and strace showed the paths to which smbd connected. A test of `tests/network` compares it with the smbd of
//! this system.

/// Capitals: the first, the last, the distance to the next one, and the distance to the small letter.
const CAPITALS: [(u32, u32, usize, i32); 87] = [
    (0x0041, 0x005A, 1, 32),
    (0x00C0, 0x00D6, 1, 32),
    (0x00D8, 0x00DE, 1, 32),
    (0x0100, 0x012E, 2, 1),
    (0x0132, 0x0136, 2, 1),
    (0x0139, 0x0147, 2, 1),
    (0x014A, 0x0176, 2, 1),
    (0x0178, 0x0178, 1, -121),
    (0x0179, 0x017D, 2, 1),
    (0x0181, 0x0181, 1, 210),
    (0x0182, 0x0184, 2, 1),
    (0x0186, 0x0186, 1, 206),
    (0x0187, 0x0187, 1, 1),
    (0x0189, 0x018A, 1, 205),
    (0x018B, 0x018B, 1, 1),
    (0x018E, 0x018E, 1, 79),
    (0x018F, 0x018F, 1, 202),
    (0x0190, 0x0190, 1, 203),
    (0x0191, 0x0191, 1, 1),
    (0x0193, 0x0193, 1, 205),
    (0x0194, 0x0194, 1, 207),
    (0x0196, 0x0196, 1, 211),
    (0x0197, 0x0197, 1, 209),
    (0x0198, 0x0198, 1, 1),
    (0x019C, 0x019C, 1, 211),
    (0x019D, 0x019D, 1, 213),
    (0x019F, 0x019F, 1, 214),
    (0x01A0, 0x01A4, 2, 1),
    (0x01A7, 0x01A7, 1, 1),
    (0x01A9, 0x01A9, 1, 218),
    (0x01AC, 0x01AC, 1, 1),
    (0x01AE, 0x01AE, 1, 218),
    (0x01AF, 0x01AF, 1, 1),
    (0x01B1, 0x01B2, 1, 217),
    (0x01B3, 0x01B5, 2, 1),
    (0x01B7, 0x01B7, 1, 219),
    (0x01B8, 0x01B8, 1, 1),
    (0x01BC, 0x01BC, 1, 1),
    (0x01C4, 0x01C4, 1, 2),
    (0x01C7, 0x01C7, 1, 2),
    (0x01CA, 0x01CA, 1, 2),
    (0x01CD, 0x01DB, 2, 1),
    (0x01DE, 0x01EE, 2, 1),
    (0x01F1, 0x01F1, 1, 2),
    (0x01F4, 0x01F4, 1, 1),
    (0x01FA, 0x0216, 2, 1),
    (0x0386, 0x0386, 1, 38),
    (0x0388, 0x038A, 1, 37),
    (0x038C, 0x038C, 1, 64),
    (0x038E, 0x038F, 1, 63),
    (0x0391, 0x03A1, 1, 32),
    (0x03A3, 0x03AB, 1, 32),
    (0x03E2, 0x03EE, 2, 1),
    (0x0401, 0x040C, 1, 80),
    (0x040E, 0x040F, 1, 80),
    (0x0410, 0x042F, 1, 32),
    (0x0460, 0x0480, 2, 1),
    (0x0490, 0x04BE, 2, 1),
    (0x04C1, 0x04C3, 2, 1),
    (0x04C7, 0x04C7, 1, 1),
    (0x04CB, 0x04CB, 1, 1),
    (0x04D0, 0x04EA, 2, 1),
    (0x04EE, 0x04F4, 2, 1),
    (0x04F8, 0x04F8, 1, 1),
    (0x0531, 0x0556, 1, 48),
    (0x1E00, 0x1E94, 2, 1),
    (0x1EA0, 0x1EF8, 2, 1),
    (0x1F08, 0x1F0F, 1, -8),
    (0x1F18, 0x1F1D, 1, -8),
    (0x1F28, 0x1F2F, 1, -8),
    (0x1F38, 0x1F3F, 1, -8),
    (0x1F48, 0x1F4D, 1, -8),
    (0x1F59, 0x1F5F, 2, -8),
    (0x1F68, 0x1F6F, 1, -8),
    (0x1FB8, 0x1FB9, 1, -8),
    (0x1FBA, 0x1FBB, 1, -74),
    (0x1FC8, 0x1FCB, 1, -86),
    (0x1FD8, 0x1FD9, 1, -8),
    (0x1FDA, 0x1FDB, 1, -100),
    (0x1FE8, 0x1FE9, 1, -8),
    (0x1FEA, 0x1FEB, 1, -112),
    (0x1FEC, 0x1FEC, 1, -7),
    (0x1FF8, 0x1FF9, 1, -128),
    (0x1FFA, 0x1FFB, 1, -126),
    (0x2160, 0x216F, 1, 16),
    (0x24B6, 0x24CF, 1, 26),
    (0xFF21, 0xFF3A, 1, 32),
];

/// Returns the letter under which smbd looks for a pipe.
pub(crate) fn to_lowercase(letter: char) -> char {
    let code = u32::from(letter);
    let after = CAPITALS.partition_point(|(first, ..)| *first <= code);
    let Some((first, last, step, distance)) = after.checked_sub(1).and_then(|at| CAPITALS.get(at)) else {
        return letter;
    };
    let is_capital = (*first..=*last).step_by(*step).any(|capital| capital == code);
    let small = code.checked_add_signed(*distance).and_then(char::from_u32).filter(|_| is_capital);
    small.unwrap_or(letter)
}
