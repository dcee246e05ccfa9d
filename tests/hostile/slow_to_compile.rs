//! A component that is small for its file and large for a compiler.

/// Functions in it. Each has some bytes, and takes a compiler a tenth of a millisecond at least.
const FUNCTIONS: usize = 200_000;

/// A component with one core module of many functions, and nothing that a plugin needs: nobody comes to look.
pub(super) fn component() -> Vec<u8> {
    // The sum of its two arguments, times one of them.
    let body = vec![0, 0x20, 0, 0x20, 1, 0x6a, 0x20, 1, 0x6c, 0x0b];
    let types = [1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f];
    let mut functions = number(FUNCTIONS);
    functions.extend([0].repeat(FUNCTIONS));
    let mut code = number(FUNCTIONS);
    let body = [number(body.len()), body].concat();
    code.extend(body.repeat(FUNCTIONS));
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &types),
        section(3, &functions),
        section(10, &code),
    ];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], number(content.len()), content.to_vec()].concat()
}

/// LEB128, as WebAssembly writes its numbers.
fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
