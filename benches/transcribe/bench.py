"""Measures transcribers: ours, and a plain program around Vosk's own Python package.

    bench.py make DIR SAMPLES            files to hear: DIR/minutes/*.wav and DIR/hour.wav
    bench.py throughput DIR WORKERS COMMAND…   hears all minutes with so many processes
    bench.py growth DIR COMMAND…         memory of one process over 200 minutes
    bench.py hour DIR COMMAND…           memory of one process over an hour in one file
    bench.py peer MODEL                  the plain program: paths in, one line out for each

Processes are timed from when all have loaded their model. Results are lines of key=value. Needs nothing but Python;
`peer` needs the package vosk.
"""

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
import wave

RATE = 8000
MINUTES = 100
TICKS = os.sysconf("SC_CLK_TCK")


def make(directory, samples):
    """Minutes of telephone speech, none like the other, and an hour of them."""
    spoken = []
    for path in sorted(pathlib.Path(samples).glob("en_*.wav")):
        with wave.open(str(path)) as file:
            if file.getnchannels() == 1 and file.getframerate() == RATE:
                spoken.append(file.readframes(file.getnframes()))
    pause = bytes(2 * RATE // 2)
    minutes = pathlib.Path(directory, "minutes")
    minutes.mkdir(parents=True)
    for n in range(MINUTES):
        sound = bytes(2 * (n * 37 % 400))
        turn = n
        while len(sound) < 2 * RATE * 60:
            sound += spoken[turn % len(spoken)] + pause
            turn += 1
        write(minutes / f"{n:03}.wav", [sound[: 2 * RATE * 60]])
    hour = [bytes_of(minutes / f"{n:03}.wav") for n in range(60)]
    write(pathlib.Path(directory, "hour.wav"), hour)


def write(path, parts):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in parts:
            file.writeframes(part)


def bytes_of(path):
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


class Process:
    """One of either kind, told apart by what it says first."""

    def __init__(self, command):
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.jobs = 0
        first = self.child.stdout.readline()
        self.ours = first.startswith("{")
        if self.ours:
            # Its model is loaded with the first request.
            self.say({"type": "check", "job": 0, "language": "en"})
            answer = self.hear()
            if answer["type"] != "done":
                sys.exit(f"the model cannot be used: {answer}")
        elif first.strip() != "ready":
            sys.exit(f"{command[0]} did not start: {first!r}")

    def say(self, request):
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()

    def hear(self):
        line = self.child.stdout.readline()
        if not line:
            sys.exit(f"a transcriber ended with status {self.child.wait()}")
        return json.loads(line)

    def words(self, path):
        """How many words it hears in a file."""
        if not self.ours:
            self.child.stdin.write(f"{path}\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
            if not line:
                sys.exit(f"the plain program ended with status {self.child.wait()}")
            return int(line)
        self.jobs += 1
        track = {"path": str(path), "channel": 0, "speaker": "caller"}
        job = {"job": self.jobs, "languages": ["en"], "tracks": [track], "max_seconds": 7200}
        self.say({"type": "transcribe", **job})
        words = 0
        while True:
            answer = self.hear()
            if answer["type"] == "utterance":
                words += len(answer["words"])
            elif answer["type"] == "done":
                return words
            elif answer["type"] == "failed":
                sys.exit(f"{path} failed: {answer}")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, key):
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        return 0

    def end(self):
        self.child.stdin.close()
        self.child.wait(30)


def throughput(directory, workers, command):
    processes = [Process(command) for _ in range(workers)]
    files = sorted(pathlib.Path(directory, "minutes").glob("*.wav"))
    todo = queue.SimpleQueue()
    for path in files:
        todo.put(path)
    words = [0] * workers

    def work(n):
        while True:
            try:
                path = todo.get_nowait()
            except queue.Empty:
                return
            words[n] += processes[n].words(path)

    cpu = sum(process.cpu() for process in processes)
    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - begun
    cpu = sum(process.cpu() for process in processes) - cpu
    peak = max(process.memory("VmHWM") for process in processes)
    for process in processes:
        process.end()
    audio = 60 * len(files)
    print(
        f"audio={audio} wall={wall:.3f} cpu={cpu:.3f} per_cpu={audio / cpu:.1f} "
        f"per_wall={audio / wall:.1f} words={sum(words)} peak_kib={peak}"
    )


def growth(directory, command):
    files = sorted(pathlib.Path(directory, "minutes").glob("*.wav"))
    process = Process(command)
    process.words(files[0])
    first = process.memory("VmRSS")
    for n in range(1, 200):
        process.words(files[n % len(files)])
    last, peak = process.memory("VmRSS"), process.memory("VmHWM")
    process.end()
    print(f"first_kib={first} last_kib={last} peak_kib={peak} growth_kib={peak - first}")


def hour(directory, command):
    process = Process(command)
    loaded = process.memory("VmRSS")
    process.words(pathlib.Path(directory, "minutes/000.wav"))
    minute = process.memory("VmHWM")
    begun = time.monotonic()
    words = process.words(pathlib.Path(directory, "hour.wav"))
    wall = time.monotonic() - begun
    peak = process.memory("VmHWM")
    process.end()
    print(f"loaded_kib={loaded} minute_kib={minute} hour_kib={peak} words={words} wall={wall:.2f}")


def peer(model):
    import vosk

    vosk.SetLogLevel(-1)
    model = vosk.Model(model)
    print("ready", flush=True)
    for path in sys.stdin:
        words = 0
        with wave.open(path.strip()) as file:
            recognizer = vosk.KaldiRecognizer(model, file.getframerate())
            recognizer.SetWords(True)
            while True:
                # As Vosk's own examples read.
                data = file.readframes(4000)
                if not data:
                    break
                if recognizer.AcceptWaveform(data):
                    words += len(json.loads(recognizer.Result()).get("result", []))
            words += len(json.loads(recognizer.FinalResult()).get("result", []))
        print(words, flush=True)


def main(arguments):
    match arguments:
        case ["make", directory, samples]:
            make(directory, samples)
        case ["throughput", directory, workers, *command]:
            throughput(directory, int(workers), command)
        case ["growth", directory, *command]:
            growth(directory, command)
        case ["hour", directory, *command]:
            hour(directory, command)
        case ["peer", model]:
            peer(model)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
