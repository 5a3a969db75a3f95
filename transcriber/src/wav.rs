//! WAV files of strangers: what they say of themselves is checked against what is there, and then they are read in
//! constant memory.
//!
//! Taken are RIFF WAVE files of 16-bit PCM samples, plain or "extensible", in one or two channels at 8 to 48 kHz.
//! A length of 0 or of all ones is that of a recording whose writer never came to finish it: it goes to the end of
//! the file. Any other length beyond the file means that something is missing, and is refused. Nothing here blocks on,
//! or reads from, anything but a regular file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use capconduit_transcriber_protocol::FailureCode;
use rustix::fs::OFlags;
use thiserror::Error;

/// Sampling rates taken.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// More chunks than this before the sound are not a recording.
const MAX_CHUNKS: u32 = 256;
const BYTES_PER_SAMPLE: u64 = 2;
const EXPECTED: &str = "a WAV file of 16-bit PCM samples in 1 or 2 channels at 8000 to 48000 Hz";
/// `KSDATAFORMAT_SUBTYPE_*` after its first two bytes, which are the format's number.
const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Why a file is not taken.
#[derive(Debug, Error)]
pub enum WavError {
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a device, a pipe.
    #[error("is {0}, not a file")]
    NotAFile(&'static str),
    /// It is something else.
    #[error("{found}; expected {EXPECTED}")]
    Unsupported {
        /// What it is instead.
        found: String,
    },
    /// Something of it is missing.
    #[error("is cut short: {0}")]
    Truncated(String),
}

impl WavError {
    /// Its code in the protocol.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Unreadable(_) => FailureCode::Unreadable,
            Self::NotAFile(_) | Self::Unsupported { .. } => FailureCode::UnsupportedFormat,
            Self::Truncated(_) => FailureCode::Truncated,
        }
    }

    fn unsupported(found: impl Into<String>) -> Self {
        Self::Unsupported {
            found: found.into(),
        }
    }
}

/// A WAV file, checked and ready to be read from its first sample.
#[derive(Debug)]
pub struct Wav<R> {
    reader: R,
    channels: u16,
    rate: u32,
    frames: u64,
    /// Frames not yet read.
    left: u64,
    bytes: Vec<u8>,
}

/// Opens a file and checks its header.
pub fn open(path: &Path) -> Result<Wav<BufReader<File>>, WavError> {
    // First by name, so that no device is ever opened; then by descriptor, should it have been exchanged meanwhile.
    regular(&fs::metadata(path).map_err(WavError::Unreadable)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)
        .map_err(WavError::Unreadable)?;
    regular(&file.metadata().map_err(WavError::Unreadable)?)?;
    Wav::new(BufReader::with_capacity(1 << 16, file))
}

fn regular(metadata: &fs::Metadata) -> Result<(), WavError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(WavError::NotAFile(if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

impl<R: Read + Seek> Wav<R> {
    /// Checks the header and goes to the first sample.
    pub fn new(mut reader: R) -> Result<Self, WavError> {
        let length = reader
            .seek(SeekFrom::End(0))
            .map_err(WavError::Unreadable)?;
        reader.rewind().map_err(WavError::Unreadable)?;
        riff(&mut reader, length)?;
        let (channels, rate, data) = chunks(&mut reader, length)?;
        reader
            .seek(SeekFrom::Start(data.start))
            .map_err(WavError::Unreadable)?;
        let frames = data.length / (BYTES_PER_SAMPLE * u64::from(channels));
        Ok(Self {
            reader,
            channels,
            rate,
            frames,
            left: frames,
            bytes: Vec::new(),
        })
    }

    /// Number of channels, 1 or 2.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Number of samples of each channel.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Length in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.frames.saturating_mul(1000) / u64::from(self.rate)
    }

    /// Reads the next samples of a channel into `samples`, at most as many as `most`; none at the end.
    pub fn read(
        &mut self,
        channel: u16,
        most: usize,
        samples: &mut Vec<i16>,
    ) -> Result<(), WavError> {
        samples.clear();
        let frames = self.left.min(most as u64);
        let frame = usize::from(self.channels) * BYTES_PER_SAMPLE as usize;
        self.bytes.resize(frames as usize * frame, 0);
        self.reader.read_exact(&mut self.bytes).map_err(|problem| {
            if problem.kind() == io::ErrorKind::UnexpectedEof {
                WavError::Truncated("it became shorter while it was read".to_owned())
            } else {
                WavError::Unreadable(problem)
            }
        })?;
        self.left -= frames;
        let at = usize::from(channel) * BYTES_PER_SAMPLE as usize;
        samples.extend(
            self.bytes
                .chunks_exact(frame)
                .map(|frame| i16::from_le_bytes([frame[at], frame[at + 1]])),
        );
        Ok(())
    }
}

/// Where the sound is, in bytes.
struct Data {
    start: u64,
    length: u64,
}

fn riff<R: Read>(reader: &mut R, length: u64) -> Result<(), WavError> {
    if length == 0 {
        return Err(WavError::Truncated("the file is empty".to_owned()));
    }
    let mut start = [0; 12];
    let count = read_most(reader, &mut start)?;
    let start = &start[..count];
    if start.len() < 12 {
        return Err(if b"RIFF".starts_with(&start[..start.len().min(4)]) {
            WavError::Truncated(format!("the file has {length} bytes, no more"))
        } else {
            WavError::unsupported(format!("begins with {}", printable(start)))
        });
    }
    match (&start[..4], &start[8..]) {
        (b"RIFF", b"WAVE") => Ok(()),
        (b"RIFF", kind) => Err(WavError::unsupported(format!(
            "is a RIFF file of kind {}",
            printable(kind)
        ))),
        (b"RF64" | b"BW64", _) => Err(WavError::unsupported("is a 64-bit WAV file")),
        (b"RIFX", _) => Err(WavError::unsupported("is a big-endian WAV file")),
        _ => Err(WavError::unsupported(format!(
            "begins with {}",
            printable(start)
        ))),
    }
}

/// Goes through the chunks to the sound.
fn chunks<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(u16, u32, Data), WavError> {
    let mut format = None;
    let mut position = 12;
    for _ in 0..MAX_CHUNKS {
        reader
            .seek(SeekFrom::Start(position))
            .map_err(WavError::Unreadable)?;
        let mut head = [0; 8];
        if read_most(reader, &mut head)? < head.len() {
            return Err(WavError::Truncated(
                if format.is_some() {
                    "it ends before the sound begins"
                } else {
                    "it ends within its header"
                }
                .to_owned(),
            ));
        }
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let body = position + head.len() as u64;
        if &head[..4] == b"data" {
            let Some((channels, rate)) = format else {
                return Err(WavError::unsupported("says nothing of its format"));
            };
            let data = data(reader, body, size, length)?;
            return Ok((channels, rate, data));
        }
        if size > length - body {
            return Err(WavError::Truncated(format!(
                "its part {} should have {size} bytes and has {}",
                printable(&head[..4]),
                length - body
            )));
        }
        if &head[..4] == b"fmt " && format.is_none() {
            format = Some(read_format(reader, size)?);
        }
        position = next_chunk(reader, body + size)?;
    }
    Err(WavError::unsupported(format!(
        "has {MAX_CHUNKS} parts and no sound among them"
    )))
}

/// Where the chunk after one that ends at `end` begins: at an even place, unless its writer forgot that.
fn next_chunk<R: Read + Seek>(reader: &mut R, end: u64) -> Result<u64, WavError> {
    if end.is_multiple_of(2) {
        return Ok(end);
    }
    reader
        .seek(SeekFrom::Start(end))
        .map_err(WavError::Unreadable)?;
    let mut name = [0; 4];
    let count = read_most(reader, &mut name)?;
    let unpadded = count == 4 && matches!(&name, b"data" | b"fmt " | b"LIST" | b"fact");
    Ok(if unpadded { end } else { end + 1 })
}

fn read_format<R: Read>(reader: &mut R, size: u64) -> Result<(u16, u32), WavError> {
    let mut fields = [0; 40];
    let count = read_most(reader, &mut fields[..size.min(40) as usize])?;
    if count < 16 {
        return Err(WavError::unsupported(format!(
            "describes its format in {size} bytes, which is too few"
        )));
    }
    let short = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let (mut tag, channels) = (short(0), short(2));
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    let (block, bits) = (short(12), short(14));
    if tag == 0xfffe {
        if count < 40 || fields[26..40] != SUBFORMAT_TAIL {
            return Err(WavError::unsupported(
                "has an extensible format unknown here",
            ));
        }
        tag = short(24);
    }
    let name = match tag {
        1 => None,
        2 | 0x11 => Some("ADPCM"),
        3 => Some("floating point"),
        6 => Some("A-law"),
        7 => Some("mu-law"),
        0x31 => Some("GSM"),
        0x50 | 0x55 => Some("MPEG"),
        _ => Some("an unknown coding"),
    };
    if let Some(name) = name {
        return Err(WavError::unsupported(format!(
            "has {name} samples (format {tag})"
        )));
    }
    if bits != 16 {
        return Err(WavError::unsupported(format!("has {bits}-bit samples")));
    }
    if !(1..=2).contains(&channels) {
        return Err(WavError::unsupported(format!("has {channels} channels")));
    }
    if !RATES.contains(&rate) {
        return Err(WavError::unsupported(format!("is sampled at {rate} Hz")));
    }
    if u64::from(block) != u64::from(channels) * BYTES_PER_SAMPLE {
        return Err(WavError::unsupported(format!(
            "says that {channels} samples of 16 bits take {block} bytes"
        )));
    }
    Ok((channels, rate))
}

/// Where the sound is, given what its chunk says.
fn data<R: Read + Seek>(
    reader: &mut R,
    start: u64,
    size: u64,
    length: u64,
) -> Result<Data, WavError> {
    let there = length - start;
    let unfinished =
        size == u64::from(u32::MAX) || (size == 0 && !only_chunks(reader, start, length)?);
    if !unfinished && size > there {
        return Err(WavError::Truncated(format!(
            "there should be {size} bytes of sound and there are {there}"
        )));
    }
    Ok(Data {
        start,
        length: if unfinished { there } else { size },
    })
}

/// Whether from `position` to the end there is nothing but whole chunks with common names: then a length of 0 before
/// them is meant.
fn only_chunks<R: Read + Seek>(
    reader: &mut R,
    mut position: u64,
    length: u64,
) -> Result<bool, WavError> {
    for _ in 0..MAX_CHUNKS {
        if position >= length {
            return Ok(true);
        }
        reader
            .seek(SeekFrom::Start(position))
            .map_err(WavError::Unreadable)?;
        let mut head = [0; 8];
        let common = read_most(reader, &mut head)? == head.len()
            && matches!(
                &head[..4],
                b"LIST" | b"fact" | b"id3 " | b"ID3 " | b"bext" | b"cue " | b"JUNK" | b"PAD "
            );
        if !common {
            return Ok(false);
        }
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        position += 8 + size + size % 2;
        // The last one's padding may be missing.
        if position > length + 1 {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Reads as much as there is, at most the whole buffer.
fn read_most<R: Read>(reader: &mut R, buffer: &mut [u8]) -> Result<usize, WavError> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(WavError::Unreadable(problem)),
        }
    }
    Ok(count)
}

fn printable(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
