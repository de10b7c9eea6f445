//! Just enough of the WebAssembly binary format to list what a module imports and exports.

use anyhow::{Context, Result, bail, ensure};

const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;

/// Names at the border of a module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Border {
    /// `module.name` of each import.
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Border {
    /// Reads a core module.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut border = Self::default();
        let mut module = Reader { bytes: bytes.strip_prefix(b"\0asm\x01\0\0\0").context("this is no WebAssembly module")? };
        while !module.bytes.is_empty() {
            let id = module.byte()?;
            let mut section = Reader { bytes: module.sized()? };
            match id {
                IMPORTS => {
                    for _ in 0..section.number()? {
                        border.imports.push(format!("{}.{}", section.name()?, section.name()?));
                        section.import_type()?;
                    }
                }
                EXPORTS => {
                    for _ in 0..section.number()? {
                        border.exports.push(section.name()?);
                        section.byte()?;
                        section.number()?;
                    }
                }
                _ => {}
            }
        }
        Ok(border)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().context("the module ends early")?;
        self.bytes = rest;
        Ok(*first)
    }

    /// An unsigned LEB128 number of at most 64 bits.
    fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number of the module is too long")
    }

    /// Bytes behind their length.
    fn sized(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.number()?)?;
        ensure!(len <= self.bytes.len(), "the module ends early");
        let (part, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Ok(part)
    }

    fn name(&mut self) -> Result<String> {
        Ok(std::str::from_utf8(self.sized()?).context("a name is not UTF-8")?.to_owned())
    }

    /// Skips the type of an import.
    fn import_type(&mut self) -> Result<()> {
        match self.byte()? {
            0 => self.number().map(drop),
            1 => self.byte().and_then(|_| self.limits()),
            2 => self.limits(),
            3 => self.byte().and_then(|_| self.byte()).map(drop),
            4 => self.byte().and_then(|_| self.number()).map(drop),
            kind => bail!("unknown kind of import {kind}"),
        }
    }

    fn limits(&mut self) -> Result<()> {
        let flags = self.byte()?;
        self.number()?;
        if flags & 1 == 1 {
            self.number()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn imports_and_exports_are_listed() {
        let imports = b"\x03\x03env\x03now\x00\x05\x03env\x06memory\x02\x01\x01\x10\x01a\x01t\x01\x70\x00\x01";
        let exports = b"\x01\x04main\x00\x07";
        let mut module = HEAD.to_vec();
        for (id, section) in [(0, &b"\x01xyz"[..]), (2, imports), (7, exports)] {
            module.push(id);
            module.push(u8::try_from(section.len()).unwrap());
            module.extend_from_slice(section);
        }
        let border = Border::read(&module).unwrap();
        assert_eq!(border.imports, ["env.now", "env.memory", "a.t"]);
        assert_eq!(border.exports, ["main"]);
    }

    #[test]
    fn broken_modules_are_errors() {
        for bytes in [&b""[..], b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0\x02\x05\x01", b"\0asm\x01\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(Border::read(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Border::read(HEAD).unwrap(), Border::default());
    }
}
