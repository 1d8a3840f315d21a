"""The command line: errors that name the option and the value, and a whole run."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from relay.__main__ import main, parse

TESTS = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("argv, option, value", [
    (["--rpm", "0"], "--rpm", "'0'"), (["--tpm", "80k"], "--tpm", "'80k'"), (["--itpm", "-5"], "--itpm", "'-5'"),
    (["--concurrency", "1.5"], "--concurrency", "'1.5'"), (["--port", "70000"], "--port", "'70000'"),
    (["--policy", "leaky"], "--policy", "'leaky'"), (["--charge", "x"], "--charge", "'x'"),
    (["--period", "0"], "--period", "'0'"), (["--period", "nan"], "--period", "'nan'"),
    (["--anchor", "x"], "--anchor", "'x'"), (["--keys", "a,,b"], "--keys", "'a,,b'"),
    (["--keys", "a,a"], "--keys", "'a,a'"),
    (["--latency-ms", "5"], "--latency-ms", "'5'"), (["--latency-ms", "9:1"], "--latency-ms", "'9:1'"),
    (["--network-ms", "inf:inf"], "--network-ms", "'inf:inf'"), (["--seed", "x"], "--seed", "'x'"),
    (["--default-output", "0"], "--default-output", "'0'"), (["--rpm", "5", "--period", "5"], "--rpm", "5 a minute"),
])
def test_bad_arguments(capsys, argv, option, value):
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    message = capsys.readouterr().err
    assert caught.value.code == 2 and option in message and value in message


def test_options():
    place, options = parse(["--port", "0", "--rpm", "600", "--keys", "a,b", "--latency-ms", "1:2.5", "--period", "5"])
    assert place == {"host": "127.0.0.1", "port": 0, "port_file": None}
    assert (options.rpm, options.tpm, options.keys, options.latency_ms) == (600, None, ("a", "b"), (1, 2.5))
    assert options.per_period("--rpm", options.rpm) == 50


def test_port_file_that_cannot_be_written(capsys, tmp_path):
    path = tmp_path / "none" / "port"
    assert main(["--port", "0", "--port-file", str(path)]) == 1
    assert "--port-file %s" % path in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_whole_run(tmp_path, number):
    path = tmp_path / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "--port", "0", "--port-file", str(path), "--rpm", "600", "--tpm", "80000"],
        env={**os.environ, "PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        port = int(path.read_text())
        assert line == "relay listening on http://127.0.0.1:%d policy=bucket period=60s rpm=600 tpm=80000\n" % port
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        request = urllib.request.Request("http://127.0.0.1:%d/v1/chat/completions" % port, json.dumps(body).encode(),
                                         {"authorization": "Bearer k"})
        with urllib.request.urlopen(request) as response:
            assert response.status == 200
        taken = subprocess.run([sys.executable, "-m", "relay", "--port", str(port)], capture_output=True, text=True,
                               env={**os.environ, "PYTHONPATH": str(TESTS)})
        assert taken.returncode == 1 and "--port %d" % port in taken.stderr
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
        assert os.listdir(tmp_path) == ["port"]
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
