//! The reader of WAV files, against another writer of them and against anything at all.

use std::io::Cursor;

use capconduit_transcriber::wav::{Wav, WavError};
use capconduit_transcriber_protocol::FailureCode;
use proptest::prelude::*;

fn chunk(name: &[u8], body: &[u8]) -> Vec<u8> {
    let mut chunk = [name, &(body.len() as u32).to_le_bytes(), body].concat();
    if chunk.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn format(channels: u16, rate: u32) -> Vec<u8> {
    let block = channels * 2;
    let mut fields = Vec::new();
    for short in [1, channels] {
        fields.extend(short.to_le_bytes());
    }
    fields.extend(rate.to_le_bytes());
    fields.extend((rate * u32::from(block)).to_le_bytes());
    for short in [block, 16] {
        fields.extend(short.to_le_bytes());
    }
    fields
}

fn extensible(channels: u16, rate: u32, subformat: u16) -> Vec<u8> {
    let mut fields = format(channels, rate);
    fields[..2].copy_from_slice(&0xfffe_u16.to_le_bytes());
    for short in [22, 16, 4, 0, subformat] {
        fields.extend(short.to_le_bytes());
    }
    fields.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    fields
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [
        &b"RIFF"[..],
        &(body.len() as u32 + 4).to_le_bytes(),
        b"WAVE",
        &body,
    ]
    .concat()
}

fn read(bytes: &[u8], channel: u16) -> Result<Vec<i16>, WavError> {
    let mut wav = Wav::new(Cursor::new(bytes))?;
    let (mut all, mut piece) = (Vec::new(), Vec::new());
    loop {
        wav.read(channel, 777, &mut piece)?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&piece);
    }
}

const SOUND: [u8; 6] = [1, 0, 2, 0, 255, 255];

#[test]
fn files_as_they_come_in_the_world_are_read() {
    let data = chunk(b"data", &SOUND);
    let info = chunk(b"LIST", b"INFOISFT\x05\0\0\0made\0");
    let unpadded = [&b"LIST"[..], &3_u32.to_le_bytes(), b"abc"].concat();
    let with_extra = [format(1, 8000), vec![0, 0]].concat();
    for file in [
        riff(&[chunk(b"fmt ", &format(1, 8000)), data.clone()]),
        riff(&[chunk(b"fmt ", &with_extra), data.clone()]),
        riff(&[chunk(b"fmt ", &extensible(1, 8000, 1)), data.clone()]),
        riff(&[info.clone(), chunk(b"fmt ", &format(1, 8000)), data.clone()]),
        riff(&[chunk(b"fmt ", &format(1, 8000)), info.clone(), data.clone()]),
        riff(&[chunk(b"fmt ", &format(1, 8000)), data.clone(), info.clone()]),
        riff(&[chunk(b"fmt ", &format(1, 8000)), unpadded, data.clone()]),
        [
            riff(&[chunk(b"fmt ", &format(1, 8000)), data.clone()]),
            b"junk after the end".to_vec(),
        ]
        .concat(),
    ] {
        assert_eq!(read(&file, 0).unwrap(), [1, 2, -1]);
    }
    // Half a frame at the end belongs to nobody.
    let stereo = riff(&[chunk(b"fmt ", &format(2, 44_100)), data]);
    assert_eq!(read(&stereo, 0).unwrap(), [1]);
    assert_eq!(read(&stereo, 1).unwrap(), [2]);
}

#[test]
fn no_sound_is_no_fault_of_the_file() {
    let empty = [&b"data"[..], &[0; 4]].concat();
    for file in [
        riff(&[chunk(b"fmt ", &format(1, 8000)), empty.clone()]),
        riff(&[
            chunk(b"fmt ", &format(1, 8000)),
            empty.clone(),
            chunk(b"LIST", b"INFO"),
        ]),
    ] {
        assert!(read(&file, 0).unwrap().is_empty());
    }
    // But what does not look like a part of a header is sound.
    let unfinished = [
        &riff(&[chunk(b"fmt ", &format(1, 8000)), empty])[..],
        &SOUND,
    ]
    .concat();
    assert_eq!(read(&unfinished, 0).unwrap(), [1, 2, -1]);
}

#[test]
fn a_file_cut_anywhere_is_cut_short() {
    let file = riff(&[
        chunk(b"fmt ", &extensible(2, 16_000, 1)),
        chunk(b"LIST", b"INFOx"),
        chunk(b"data", &[7; 100]),
    ]);
    for length in 0..file.len() {
        let code = read(&file[..length], 0).unwrap_err().code();
        assert_eq!(code, FailureCode::Truncated, "{length} bytes");
    }
    assert_eq!(read(&file, 0).unwrap().len(), 25);
}

#[test]
fn formats_that_are_not_taken_are_named() {
    let data = chunk(b"data", &SOUND);
    let with = |format: &[u8]| riff(&[chunk(b"fmt ", format), data.clone()]);
    let mut odd_block = format(1, 8000);
    odd_block[12] = 3;
    let mut foreign = extensible(1, 8000, 1);
    foreign[39] = 0;
    for (file, part) in [
        (with(&extensible(1, 8000, 3)), "floating point"),
        (with(&extensible(1, 8000, 6)), "A-law"),
        (with(&foreign), "extensible format unknown"),
        (with(&odd_block), "take 3 bytes"),
        (with(&[1, 0]), "too few"),
        (riff(std::slice::from_ref(&data)), "nothing of its format"),
        (riff(&vec![chunk(b"JUNK", b""); 300]), "no sound among them"),
        (b"RIFF\x04\0\0\0AVI LIST".to_vec(), "kind \"AVI \""),
        (b"RF64\xff\xff\xff\xffWAVEds64".to_vec(), "64-bit"),
        (b"RIFX\0\0\0\x04WAVEfmt ".to_vec(), "big-endian"),
    ] {
        let problem = read(&file, 0).unwrap_err();
        assert_eq!(problem.code(), FailureCode::UnsupportedFormat);
        let message = problem.to_string();
        assert!(message.contains(part), "{message}");
        assert!(message.contains("expected a WAV file"), "{message}");
    }
}

/// Files that once were interesting, or look so.
fn seeds() -> Vec<Vec<u8>> {
    let data = chunk(b"data", &[5; 64]);
    vec![
        riff(&[chunk(b"fmt ", &format(1, 8000)), data.clone()]),
        riff(&[chunk(b"fmt ", &format(2, 48_000)), data.clone()]),
        riff(&[chunk(b"fmt ", &extensible(2, 16_000, 1)), data.clone()]),
        riff(&[
            chunk(b"LIST", b"abc"),
            chunk(b"fmt ", &format(1, 8000)),
            data,
        ]),
        riff(&[
            chunk(b"fmt ", &format(1, 8000)),
            [&b"data"[..], &[0xff; 4]].concat(),
        ]),
        b"RIFF".repeat(20),
        [
            b"RIFF\xff\xff\xff\xffWAVE",
            &b"fmt \xff\xff\xff\xff".repeat(9)[..],
        ]
        .concat(),
    ]
}

proptest! {
    #[test]
    fn what_another_program_wrote_is_read_back(
        stereo: bool,
        rate in 8000_u32..=48_000,
        samples in prop::collection::vec(any::<i16>(), 0..3000),
        piece in 1_usize..2000,
    ) {
        let channels = 1 + u16::from(stereo);
        let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int };
        let samples = &samples[..samples.len() / usize::from(channels) * usize::from(channels)];
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for sample in samples {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
        for channel in 0..channels {
            let mut wav = Wav::new(Cursor::new(file.get_ref())).unwrap();
            prop_assert_eq!((wav.channels(), wav.rate()), (channels, rate));
            let (mut all, mut some) = (Vec::new(), Vec::new());
            loop {
                wav.read(channel, piece, &mut some).unwrap();
                if some.is_empty() { break; }
                prop_assert!(some.len() <= piece);
                all.extend_from_slice(&some);
            }
            let expected: Vec<i16> =
                samples.iter().skip(channel.into()).step_by(channels.into()).copied().collect();
            prop_assert_eq!(all, expected);
        }
    }

    #[test]
    fn anything_at_all_is_read_or_refused_and_never_more_than_is_there(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut file = seed;
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() + 1));
        file.extend(rest);
        match Wav::new(Cursor::new(&file)) {
            Ok(wav) => {
                prop_assert!(wav.frames() * 2 * u64::from(wav.channels()) <= file.len() as u64);
                let samples = read(&file, 0);
                prop_assert_eq!(samples.unwrap().len() as u64, wav.frames());
            }
            Err(problem) => prop_assert!(problem.code() != FailureCode::Unreadable),
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Wav::new(Cursor::new(&bytes)).is_err());
    }
}
