"""The doctor: each part in order and out of order, with what to do about it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from brokers import PATIENCE_SECONDS, Certificates, Mosquitto, MosquittoFactory, Wire, free_port, wait_until
from daemons import DEVICE, Daemon, Listener

from vire_edge.cli.doctor import device, examine, files, network, vision
from vire_edge.cli.doctor.check import Check, Status
from vire_edge.cli.doctor.network import Holder
from vire_edge.cli.doctor.pause import paused_until
from vire_edge.config import BrokerConfig, CameraConfig, Config, MqttConfig
from vire_edge.config.settings import ModelConfig
from vire_edge.messages import Messages, Topics
from vire_edge.mqtt import MqttVersion
from vire_edge.mqtt.embedded import EmbeddedBroker
from vire_edge.mqtt.link import Link
from vire_edge.mqtt.observer import Observer, Received

VIDEO = Path(__file__).parents[2] / "shared" / "data" / "video" / "classroom.gif"
MODEL_CONFIG = ModelConfig()


def only(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def camera_check(**settings: object) -> Check:
    return only(vision.check_cameras([CameraConfig.model_validate(settings)], holder=Holder.NOBODY))


def broker_checks(mqtt: MqttConfig) -> dict[str, Check]:
    return {check.name: check for check in network.check_broker(Config(mqtt=mqtt), holder=Holder.NOBODY)}


def write_config(folder: Path, *lines: str) -> Path:
    path = folder / "config.toml"
    path.write_text("\n".join((f'state_dir = "{folder / "state"}"', *lines)) + "\n")
    path.chmod(0o600)
    return path


# --- the command ------------------------------------------------------------------------------


def run_doctor(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")}
    return subprocess.run(
        [sys.executable, "-c", "from vire_edge.cli import main; main()", "doctor", *arguments],
        capture_output=True,
        text=True,
        env=clean | environ,
        timeout=100,
        check=False,
    )


def test_a_device_in_order_gives_status_0_and_one_plain_line_for_each_check(tmp_path: Path) -> None:
    config = write_config(tmp_path, "[[cameras]]", 'source = "synthetic"', "[broker]", f"port = {free_port()}")
    finished = run_doctor("--config", config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    words = {line.split()[0] for line in finished.stdout.splitlines()[:-1]}
    assert words <= {"ok", "skipped", "warning"}
    assert "\x1b" not in finished.stdout


def test_a_broken_device_gives_status_1_and_json_that_names_every_fault(tmp_path: Path) -> None:
    config = write_config(tmp_path, "[[cameras]]", 'source = "/dev/video99"', "[model]", 'path = "/nowhere.onnx"')
    finished = run_doctor("--json", VIRE_EDGE_CONFIG=str(config), VIRE_EDGE_BROKER__PORT=str(free_port()))
    assert finished.returncode == 1
    answer: dict[str, Any] = json.loads(finished.stdout)
    assert answer["healthy"] is False
    faults = [check for check in answer["checks"] if check["status"] == "failure"]
    assert {check["name"] for check in faults} == {"camera camera", "model"}
    assert all(check["remedy"] for check in faults)


def test_a_wrong_configuration_is_one_fault_and_the_rest_of_the_device_is_still_looked_at(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(write_config(tmp_path, "[mqtt]", "prot = 1883"))}
    assert checks["configuration"].status is Status.FAILURE
    assert "did you mean 'port'" in checks["configuration"].remedy
    assert checks["opencv"].status is Status.OK
    for name in ("state directory", "model", "cameras", "broker"):
        assert checks[name] == Check(name, Status.SKIPPED, "needs a valid configuration")


def test_a_missing_system_library_is_a_result_with_its_remedy_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    finished = run_doctor("--json", "--config", write_config(tmp_path), PYTHONPATH=str(tmp_path))
    assert finished.returncode == 1, finished.stderr
    opencv = next(check for check in json.loads(finished.stdout)["checks"] if check["name"] == "opencv")
    assert opencv["status"] == "failure"
    assert "libGL.so.1" in opencv["detail"]
    assert "apt-get install libgl1" in opencv["remedy"]
    skipped = {check["name"] for check in json.loads(finished.stdout)["checks"] if check["detail"] == "needs OpenCV"}
    assert skipped == {"model", "cameras"}


# --- the computer -----------------------------------------------------------------------------


def test_this_python_is_fit() -> None:
    assert device.check_python().status is Status.OK


@pytest.mark.parametrize(("available_kb", "status"), [(900_000, Status.OK), (100_000, Status.WARNING)])
def test_little_memory_is_a_warning(tmp_path: Path, available_kb: int, status: Status) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:  948304 kB\nMemFree:  8304 kB\nMemAvailable: {available_kb} kB\n")
    assert device.check_memory(meminfo).status is status


def test_memory_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    assert device.check_memory(tmp_path / "none").status is Status.SKIPPED


def test_a_clock_in_the_past_is_a_failure() -> None:
    assert device.check_clock(datetime(1970, 1, 1, tzinfo=UTC)).status is Status.FAILURE
    assert device.check_clock().status in {Status.OK, Status.WARNING}


@pytest.mark.parametrize(
    ("millidegrees", "throttled", "status", "words"),
    [
        ("48312", "0x0", Status.OK, "48 °C"),
        ("85000", "0x0", Status.WARNING, "85 °C"),
        ("48312", "0x50005", Status.WARNING, "under-voltage"),
        ("48312", "0x40004", Status.WARNING, "slowed down"),
        ("48312", "0x50000", Status.WARNING, "since boot"),
    ],
)
def test_heat_and_weak_power_are_warnings(
    tmp_path: Path, millidegrees: str, throttled: str, status: Status, words: str
) -> None:
    (tmp_path / "temp").write_text(millidegrees + "\n")
    (tmp_path / "throttled").write_text(throttled + "\n")
    check = device.check_heat(tmp_path / "temp", tmp_path / "throttled")
    assert check.status is status
    assert words in check.detail


def test_a_computer_without_a_thermometer_is_skipped(tmp_path: Path) -> None:
    assert device.check_heat(tmp_path / "none", tmp_path / "none").status is Status.SKIPPED


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (None, Status.SKIPPED),
        ("active", Status.OK),
        ("failed", Status.FAILURE),
        ("inactive", Status.WARNING),
    ],
)
def test_the_service_is_judged_by_systemds_word(state: str | None, status: Status) -> None:
    assert device.check_service(state).status is status


def test_a_computer_without_systemd_is_told_so(tmp_path: Path) -> None:
    assert device.check_service(None, tmp_path / "none").detail == "systemd does not run here"
    assert device.check_service(None, tmp_path).detail == "not installed"


# --- files ------------------------------------------------------------------------------------


def test_a_password_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    path = write_config(tmp_path, "[mqtt]", 'host = "broker"', 'username = "hall"', 'password = "correct horse"')
    config, checks = files.check_configuration(path)
    assert config is not None
    assert [check.status for check in checks] == [Status.OK, Status.OK]
    path.chmod(0o644)
    warned = files.check_configuration(path)[1][-1]
    assert warned.status is Status.WARNING
    assert str(path) in warned.remedy
    assert "correct horse" not in str(warned)


@pytest.mark.parametrize("lines", [(), ("[[cameras]]", 'source = "rtsp://camera.local/stream"')])
def test_a_configuration_without_secrets_may_be_read_by_everybody(tmp_path: Path, lines: tuple[str, ...]) -> None:
    path = write_config(tmp_path, *lines)
    path.chmod(0o644)
    assert [check.status for check in files.check_configuration(path)[1]] == [Status.OK]


def test_a_password_in_a_cameras_url_is_a_secret(tmp_path: Path) -> None:
    path = write_config(tmp_path, "[[cameras]]", 'source = "rtsp://admin:secret@camera.local/stream"')
    path.chmod(0o644)
    assert files.check_configuration(path)[1][-1].status is Status.WARNING


def test_a_key_file_that_is_missing_is_a_failure_and_an_open_one_a_warning(tmp_path: Path) -> None:
    key = tmp_path / "device.key"
    mqtt = {"host": "broker", "tls": {"cert_file": str(tmp_path / "device.pem"), "key_file": str(key)}}
    config = Config.model_validate({"mqtt": mqtt})
    assert only(files.check_secrets(config, None)).status is Status.FAILURE
    key.touch(mode=0o600)
    assert only(files.check_secrets(config, None)).status is Status.OK
    key.chmod(0o644)
    assert only(files.check_secrets(config, None)).status is Status.WARNING


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    config, checks = files.check_configuration(tmp_path / "none.toml")
    assert config is None
    assert only(checks).status is Status.FAILURE
    assert "--example" in only(checks).remedy


def test_the_state_directory_may_be_there_or_be_made(tmp_path: Path) -> None:
    state = tmp_path / "a" / "b"
    assert files.check_state_directory(Config(state_dir=state)).status is Status.OK
    assert not state.exists(), "looking changes nothing"
    state.mkdir(parents=True, mode=0o700)
    assert files.check_state_directory(Config(state_dir=state)).status is Status.OK
    assert list(state.iterdir()) == []


def test_the_services_state_directory_is_made_by_the_service(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "vire-edge"
    check = files.check_state_directory(Config(state_dir=home), service_home=home)
    assert check.status is Status.FAILURE
    assert check.remedy == "start the service once, it makes it: sudo systemctl start vire-edge"


def test_a_state_directory_that_cannot_be_written_is_a_failure() -> None:
    # A place where not even root may write.
    check = files.check_state_directory(Config(state_dir=Path("/proc/self/fdinfo")))
    assert check.status is Status.FAILURE
    assert "state_dir" in check.remedy


def test_a_file_in_place_of_the_state_directory_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert files.check_state_directory(Config(state_dir=tmp_path / "file")).status is Status.FAILURE
    assert files.check_state_directory(Config(state_dir=tmp_path / "file" / "state")).status is Status.FAILURE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_home_is_told_to_name_the_state_directory(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from vire_edge.cli.doctor import files\n"
        "from vire_edge.config import Config\n"
        "os.setresuid(54321, -1, -1)\n"
        "for named in (None, Path(sys.argv[1])):\n"
        "    check = files.check_state_directory(Config(state_dir=named))\n"
        "    print(check.status.value, check.remedy)"
    )
    homeless = {name: value for name, value in os.environ.items() if name not in {"HOME", "XDG_STATE_HOME"}}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=homeless, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    without, named = done.stdout.splitlines()
    assert without == f"{Status.FAILURE.value} set state_dir or VIRE_EDGE_STATE_DIR"
    assert named.strip() == Status.OK.value


def test_a_state_directory_open_to_everybody_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    check = files.check_state_directory(Config(state_dir=tmp_path))
    assert check.status is Status.WARNING
    assert "0700" in check.remedy


# --- cameras and model ------------------------------------------------------------------------


def test_the_shipped_model_is_in_order() -> None:
    check = vision.check_model(MODEL_CONFIG)
    assert check.status is Status.OK
    assert "ms a face" in check.detail


def test_a_model_that_is_missing_or_none_is_a_failure(tmp_path: Path) -> None:
    missing = vision.check_model(ModelConfig(path=tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    damaged = vision.check_model(ModelConfig(path=tmp_path / "bad.onnx"))
    for check in (missing, damaged):
        assert check.status is Status.FAILURE
        assert str(tmp_path) in check.detail
        assert check.remedy


def test_a_video_is_looked_at() -> None:
    check = camera_check(source=str(VIDEO), fps=30)
    assert check.status is Status.OK, check
    assert "480×270" in check.detail


def test_a_webcam_that_is_missing_is_a_failure_at_once(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    config = CameraConfig(source="/dev/video99", name="hall")
    check = only(vision.check_cameras([config], holder=Holder.NOBODY, devices=tmp_path))
    assert check == Check("camera hall", Status.FAILURE, "/dev/video99 does not exist", check.remedy)
    assert "plug it in" in check.remedy


def test_a_file_that_is_no_video_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("no film")
    check = camera_check(source=str(tmp_path / "film.mp4"))
    assert check.status is Status.FAILURE
    assert "film.mp4" in check.detail
    assert check.remedy


def test_a_stream_that_refuses_is_a_failure_without_its_password() -> None:
    check = camera_check(source=f"rtsp://admin:secret@127.0.0.1:{free_port()}/stream")
    assert check.status is Status.FAILURE
    assert "secret" not in str(check)


def test_a_black_picture_is_a_warning(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "night.png"), np.zeros((120, 160), np.uint8))
    check = camera_check(source=str(tmp_path), loop=True)
    assert check.status is Status.WARNING
    assert "black" in check.detail


def test_several_cameras_are_looked_at_together_and_told_in_order() -> None:
    configs = [CameraConfig(name="door", source="/dev/video99"), CameraConfig(name="actor", source="synthetic")]
    checks = vision.check_cameras(configs, holder=Holder.NOBODY)
    assert [(check.name, check.status) for check in checks] == [
        ("camera door", Status.FAILURE),
        ("camera actor", Status.OK),
    ]


@pytest.mark.parametrize(
    ("holder", "stop"), [(Holder.SERVICE, "systemctl stop"), (Holder.DAEMON, "stop vire-edge run")]
)
def test_a_webcam_that_the_daemon_holds_is_left_alone(holder: Holder, stop: str) -> None:
    check = only(vision.check_cameras([CameraConfig(source=0)], holder=holder))
    assert check.status is Status.SKIPPED
    assert stop in check.remedy


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (0, "no webcam found"),
        ("/dev/v4l/by-id/usb-webcam", "/dev/v4l/by-id/usb-webcam does not exist, no webcam found"),
    ],
)
def test_without_any_webcam_one_may_go_on_without(source: int | str, found: str, tmp_path: Path) -> None:
    check = only(vision.check_cameras([CameraConfig(source=source)], holder=Holder.NOBODY, devices=tmp_path))
    assert (check.status, check.detail) == (Status.FAILURE, found)
    assert check.remedy == (
        "plug one in, or name another source under [[cameras]] (to try without one: vire-edge run --source synthetic)"
    )


def test_cameras_that_are_paused_stay_closed_and_the_doctor_says_until_when(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    camera = {"name": "room", "source": "synthetic", "loop": True}
    config = write_config(
        tmp_path,
        f'device_id = "{DEVICE}"',
        *("[[cameras]]", 'name = "room"', 'source = "synthetic"'),
        *("[mqtt]", 'host = "127.0.0.1"', f"port = {mosquitto.port}"),
    )

    def looks() -> dict[str, Check]:
        return {check.name: check for check in examine(config)}

    settings = {"mqtt__host": "127.0.0.1", "mqtt__port": str(mosquitto.port), "cameras": [camera]}
    environment = {"VIRE_EDGE_STATE_DIR": str(tmp_path / "state")}
    with Listener(mosquitto.config()) as listener:
        with Daemon(tmp_path, settings, environment) as daemon:
            listener.wait_for("camera/room", lambda payload: payload["status"] == "online")
            assert looks()["camera room"].status is Status.OK
            listener.ask("pause", minutes=30)
            until = datetime.fromisoformat(listener.wait_for("response/pause")["result"]["until"])
            running = looks()
            daemon.send(signal.SIGKILL)
            listener.wait_for("availability", lambda payload: payload["status"] == "offline")
        for checks in (running, looks()):
            assert checks["camera room"] == Check("camera room", Status.SKIPPED, "closed by the pause")
            assert checks["pause"].status is Status.WARNING
            near = [(until + timedelta(seconds=seconds)).astimezone() for seconds in (-1, 1)]  # it is noted in tenths
            assert any(f"until {moment:%H:%M}," in checks["pause"].detail for moment in near)
            assert f"-p {mosquitto.port} -t vire/{DEVICE}/command/resume -m '{{}}'" in checks["pause"].remedy
        with Daemon(tmp_path, settings, environment):
            listener.wait_for("availability", lambda payload: payload["status"] == "online")
            listener.ask("resume")
            listener.wait_for("response/resume")
        assert "pause" not in looks()


def test_a_state_folder_that_cannot_be_read_tells_of_no_pause(tmp_path: Path) -> None:
    assert paused_until(Config(state_dir=tmp_path / "none")) is None
    (tmp_path / "state.sqlite3").write_bytes(b"no database" * 100)
    assert paused_until(Config(state_dir=tmp_path)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite3"]


# --- broker -----------------------------------------------------------------------------------


def test_a_free_port_is_right_for_the_embedded_broker_and_a_taken_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = Config(broker=BrokerConfig(port=other.getsockname()[1]))
        taken = only(network.check_broker(config, holder=Holder.NOBODY))
        assert only(network.check_broker(config, holder=Holder.SERVICE)).status is Status.OK
    assert taken.status is Status.FAILURE
    assert "in use" in taken.detail
    assert "broker.port" in taken.remedy
    assert only(network.check_broker(config, holder=Holder.NOBODY)).status is Status.OK


@pytest.mark.parametrize("login", [{}, {"username": "app", "password": "correct horse"}])
def test_this_devices_running_daemon_may_hold_the_port(login: dict[str, str]) -> None:
    config = Config.model_validate({"device_id": "hall", "broker": {"port": free_port(), **login}})
    assert network.find_holder(config, service_runs=False) is Holder.NOBODY
    assert network.find_holder(config, service_runs=True) is Holder.SERVICE
    broker = EmbeddedBroker(config.broker)
    broker.start()
    try:
        assert network.find_holder(config, service_runs=False) is Holder.NOBODY, "an empty broker is another's"
        availability = Messages(Topics("vire", "hall")).availability("online", at=datetime.now(UTC))
        with Observer(broker.client_config(config.mqtt), availability.topic) as observer:
            observer.wait_subscribed(PATIENCE_SECONDS)
            observer.publish(availability)
            wait_until(lambda: isinstance(observer.receive(0.1), Received), what="the availability")
        holder = network.find_holder(config, service_runs=False)
        assert holder is Holder.DAEMON
        check = only(network.check_broker(config, holder=holder))
        assert check.status is Status.OK
        assert "this device's daemon listens there" in check.detail
        other = config.model_copy(update={"device_id": "bedroom"})
        assert network.find_holder(other, service_runs=False) is Holder.NOBODY
    finally:
        assert broker.stop(timeout_seconds=10.0)


def test_a_port_that_no_broker_holds_is_not_the_daemons(start_mosquitto: MosquittoFactory, tmp_path: Path) -> None:
    locked = start_mosquitto("allow_anonymous false", f"password_file {write_config(tmp_path)}")
    assert network.find_holder(Config(broker=BrokerConfig(port=locked.port)), service_runs=False) is Holder.NOBODY


def test_a_login_is_tried(mosquitto_with_login: Mosquitto) -> None:
    right = broker_checks(mosquitto_with_login.config(username="device", password="correct horse"))
    assert [check.status for check in right.values()] == [Status.OK] * 4
    wrong = broker_checks(mosquitto_with_login.config(username="device", password="wrong"))
    assert wrong["broker login"].status is Status.FAILURE
    assert "wrong" not in str(wrong["broker login"]).replace("wrong password", "")


def test_a_login_that_may_not_publish_for_this_device_is_a_failure(
    start_mosquitto: MosquittoFactory, mosquitto_with_login: Mosquitto, tmp_path: Path
) -> None:
    rights = tmp_path / "rights"
    rights.write_text("pattern write vire/%u/#\n")
    rights.chmod(0o600)
    logins = tuple(line for line in mosquitto_with_login.lines if line != "allow_anonymous true")
    broker = start_mosquitto(*logins, f"acl_file {rights}")
    mqtt = broker.config(username="device", password="correct horse")
    *_, login, published = network.check_broker(Config(device_id="hall", mqtt=mqtt), holder=Holder.NOBODY)
    assert login.status is Status.OK
    assert published == Check(
        "broker rights",
        Status.FAILURE,
        'the broker does not take messages on "vire/hall/response/doctor" (Not authorized)',
        "allow this user to publish there, or set device_id to the login",
    )
    *_, published = network.check_broker(Config(device_id="device", mqtt=mqtt), holder=Holder.NOBODY)
    assert published == Check("broker rights", Status.OK, "this device may publish as vire/device/…")


def test_a_broker_that_hangs_up_on_a_message_or_is_silent_is_a_failure(mosquitto: Mosquitto) -> None:
    answer = Messages(Topics("vire", "hall")).response("doctor", None, at=datetime.now(UTC))
    for harm, words in ((Wire.cut, "127.0.0.1"), (Wire.stall, "not answered within 5 s")):
        wire = Wire(mosquitto.port)
        link = Link(
            MqttConfig(host="127.0.0.1", port=wire.port), client_id="doctor", version=MqttVersion.V5, context=None
        )
        accepted = link.open(timeout_seconds=PATIENCE_SECONDS)
        harm(wire)
        check = network._check_publishing(link, accepted, answer)
        link.abandon()
        wire.close()
        assert check.status is Status.FAILURE
        assert words in check.detail
        assert check.remedy


def test_a_name_that_nobody_has_is_a_failure() -> None:
    checks = broker_checks(MqttConfig(host="no-such-host.invalid"))
    assert list(checks) == ["broker address"]
    assert checks["broker address"].status is Status.FAILURE


def test_a_port_where_nobody_listens_is_a_failure() -> None:
    checks = broker_checks(MqttConfig(host="127.0.0.1", port=free_port()))
    assert list(checks) == ["broker address", "broker connection"]
    assert "no broker listens" in checks["broker connection"].detail


def test_a_broker_of_the_older_protocol_is_fine(mosquitto: Mosquitto) -> None:
    wire = Wire(mosquitto.port, on_mqtt_5="close")
    try:
        checks = broker_checks(MqttConfig(host="127.0.0.1", port=wire.port))
    finally:
        wire.close()
    assert checks["broker login"].status is Status.OK
    assert "3.1.1" in checks["broker login"].detail
    assert checks["broker rights"].status is Status.SKIPPED


def test_a_certificate_is_checked_and_its_last_day_told(
    start_mosquitto: MosquittoFactory, certificates: Certificates
) -> None:
    broker = start_mosquitto(*certificates.listener())
    checks = broker_checks(broker.config(host="localhost", tls={"ca_file": str(certificates.ca)}))
    assert checks["broker certificate"].status is Status.OK, checks
    assert "expires" in checks["broker certificate"].detail
    assert checks["broker login"].status is Status.OK


def test_a_certificate_of_its_own_is_what_lets_a_device_in(
    start_mosquitto: MosquittoFactory, certificates: Certificates
) -> None:
    broker = start_mosquitto(*certificates.listener(require_certificate=True))
    own = {"cert_file": str(certificates.device_cert), "key_file": str(certificates.device_key)}
    checks = broker_checks(broker.config(host="localhost", tls={"ca_file": str(certificates.ca), **own}))
    assert checks["broker login"] == Check("broker login", Status.OK, "accepted with its certificate, MQTT 5")


def test_a_certificate_that_is_expired_or_unknown_is_a_failure(
    start_mosquitto: MosquittoFactory, certificates: Certificates
) -> None:
    expired = start_mosquitto(*certificates.listener(expired=True))
    valid = start_mosquitto(*certificates.listener())
    for broker, authority in ((expired, certificates.ca), (valid, certificates.other_ca)):
        checks = broker_checks(broker.config(host="localhost", tls={"ca_file": str(authority)}))
        assert checks["broker certificate"].status is Status.FAILURE
        assert "broker login" not in checks
