"""Every setting of the daemon with its default, its range and the reason for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from vire_edge.config.base import Name, PositiveSeconds, Seconds, Section, Share
from vire_edge.config.migration import CONFIG_VERSION
from vire_edge.config.rules import Alert, DeviceAlert, default_alerts


def _check_host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]{1,253}", value) or ".." in value:
        raise ValueError("must be the name or address alone, such as broker.home or 192.168.1.5")
    return value


Host = Annotated[str, AfterValidator(_check_host)]
Login = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]
"""Not empty: an empty password lets everybody in who knows the name."""
Port = Annotated[int, Field(ge=1, le=65535)]


def redact_source(source: int | str) -> str:
    """Return a camera source without the password that its URL may carry, for logs and messages."""
    scheme, separator, rest = str(source).partition("://")
    if not separator:
        return scheme
    # Everything before the last "@": a password may hold an unescaped "/" or "@" of its own.
    address = rest.rpartition("@")[2]
    # And some cameras take the login in the path: /user=admin_password=secret_channel=1.sdp
    return f"{scheme}://{re.split('[?#]|/[^/?#]*=', address, maxsplit=1)[0]}"


class CameraConfig(Section):
    """One camera, stream, file or folder of pictures. The daemon takes several."""

    name: Name = "camera"
    """Stands in topics and alerts."""
    source: int | str = 0
    """Webcam by index (0) or path (/dev/v4l/by-id/…, which survives another USB port), rtsp:// or http:// URL,
    video file, folder of images, or "synthetic" for the built-in actor, who plays for a minute."""
    width: Annotated[int, Field(ge=160, le=3840)] = 640
    """Pixels asked of a webcam. A face needs about 40 of them: 640 reaches some three metres."""
    height: Annotated[int, Field(ge=120, le=2160)] = 480
    """Pixels asked of a webcam."""
    fps: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Frames looked at each second. Emotions last for seconds: ten a second are plenty, and below one nobody can be
    followed."""
    pace: Literal["real_time", "fast"] = "real_time"
    """Files, pictures and the actor only: as they were recorded, or every frame as fast as the processor takes it."""
    loop: bool = False
    """Files, pictures and the actor only: begin again at the end instead of stopping."""
    stall_seconds: PositiveSeconds = 10.0
    """Without a new picture for this long the camera counts as stalled and is reopened. V4L2 itself gives up
    after ten seconds."""
    dark_seconds: PositiveSeconds = 10.0
    """A picture that has been black for this long counts as dark."""


class ModelConfig(Section):
    """The emotion classifier."""

    path: Path | None = None
    """An ONNX file under the model contract; left out, the one that ships with the package."""
    precision: Literal["auto", "float32", "int8"] = "auto"
    """Of the network that ships with the package: int8 reads faces as well, in less than half the time where the
    processor multiplies 8-bit numbers, as a Raspberry Pi 5 does and auto looks up. A file in path has its own."""
    threads: Annotated[int, Field(ge=1, le=16)] = 1
    """One is enough for a model this small and leaves the others to the face search."""
    interval_seconds: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Time between two readings of one face; 0 reads it in every frame. Expressions that count last for seconds;
    a face that wavers between two is read four times as often."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if self.path is not None and self.precision != "auto":
            raise ValueError(
                f"precision chooses between the networks that ship with the package, and path is {self.path}; "
                "leave out one of them"
            )
        return self


class FacesConfig(Section):
    """The Haar cascade's face search."""

    search: Literal["scheduled", "every_frame"] = "scheduled"
    """scheduled: where something changed, and around the faces that are known. every_frame: everywhere in each frame,
    for comparison, at ten times the cost and more."""
    scale_factor: Annotated[float, Field(gt=1.0, le=2.0)] = 1.1
    """Step between the sizes that are searched: smaller finds more and costs more."""
    min_neighbors: Annotated[int, Field(ge=0, le=30)] = 6
    """Overlapping hits that make a face: fewer finds more and errs more."""
    min_size_pixels: Annotated[int, Field(ge=20, le=1000)] = 40
    """Smallest face side that is searched for, in pixels of the searched image."""
    search_width: Annotated[int, Field(ge=160, le=3840)] = 640
    """Wider frames are reduced to this for the search; the crop still comes from the full frame."""
    max_faces: Annotated[int, Field(ge=1, le=64)] = 16
    """More than these, the largest, are not followed: a poster of a crowd must not take the processor."""
    profile: bool = False
    """Also search for faces turned to either side. Costs about three times as much, and the model was
    trained on faces seen from the front."""


class QualityConfig(Section):
    """What a face must be to be judged; one below is counted as "not observed", never guessed at."""

    min_size_pixels: Annotated[int, Field(ge=1, le=1000)] = 36
    """Side in the frame. The model looks at 48 pixels; below three quarters of that it sees invented detail."""
    min_sharpness: Annotated[float, Field(ge=0, le=10_000)] = 40.0
    """Variance of the Laplacian of the 48×48 crop."""
    min_brightness: Annotated[float, Field(ge=0, le=255)] = 25.0
    """Mean gray value of the crop."""
    min_contrast: Annotated[float, Field(ge=0, le=128)] = 10.0
    """Standard deviation of the crop's gray values."""


class TrackingConfig(Section):
    """Detections over time → tracks."""

    min_hits: Annotated[int, Field(ge=1, le=20)] = 2
    """Detections before a face counts as a person: a false hit rarely comes twice in one place."""
    min_iou: Share = 0.2
    """Overlap with the last box from which a face is the same one."""
    remember_seconds: Seconds = 10.0
    """A face lost for at most this long is the same person again when it reappears nearby and nobody else could
    be meant."""
    max_distance: Annotated[float, Field(gt=0, le=20)] = 1.5
    """How far a reappearing face may be, in face widths, growing with the time it was lost."""


class SmoothingConfig(Section):
    """Scores over real time → the state of a face."""

    time_constant_seconds: PositiveSeconds = 1.0
    """After this time a new expression has 63 % of the weight: single misread frames vanish."""
    max_gap_seconds: PositiveSeconds = 2.0
    """A longer gap between two observations counts as not observed."""


class TlsConfig(Section):
    """Encryption to the broker and the proof of who is who."""

    ca_file: Path | None = None
    """Certificate authority that signed the broker's certificate, PEM; left out, the system's."""
    cert_file: Path | None = None
    """This device's own certificate, PEM, for brokers that ask for one."""
    key_file: Path | None = None
    """The key to cert_file, PEM, not encrypted, readable by the daemon only."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or neither")
        return self


class MqttConfig(Section):
    """The broker that takes states and alerts to the caregiver."""

    host: Host | None = None
    """Name or address; left out, a broker inside the daemon."""
    port: Port | None = None
    """Left out: 1883, or 8883 with TLS."""
    username: Login | None = None
    """Login name."""
    password: Secret | None = None
    """Better in VIRE_EDGE_MQTT__PASSWORD, in password_file, or as the systemd credential "mqtt_password"."""
    password_file: Path | None = None
    """File whose first line is the password."""
    tls: TlsConfig | None = None
    """Its presence, even empty, turns encryption on."""
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = "vire"
    """Topics begin with <topic_prefix>/<device_id>/."""
    keepalive_seconds: Annotated[int, Field(ge=5, le=3600)] = 20
    """The broker says "offline" for a silent device after one and a half times this."""
    max_queued_alerts: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """Alerts kept for a broker that is away; past that the mildest and oldest go first."""

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if (self.password is not None or self.password_file is not None) and self.username is None:
            raise ValueError("a password needs a username")
        return self

    @property
    def effective_port(self) -> int:
        """The port that is used when none is given."""
        return self.port or (8883 if self.tls else 1883)


class BrokerConfig(Section):
    """The embedded broker, used while mqtt.host is left out."""

    host: Host = "127.0.0.1"
    """Address to listen on. Anything but loopback needs a username and a password."""
    port: Port = 1883
    """Port to listen on."""
    username: Login | None = None
    """Login name that clients must give."""
    password: Secret | None = None
    """Better in VIRE_EDGE_BROKER__PASSWORD, in password_file, or as the systemd credential "broker_password"."""
    password_file: Path | None = None
    """File whose first line is the password."""

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        has_password = self.password is not None or self.password_file is not None
        if has_password != (self.username is not None):
            raise ValueError("username and password belong together; give both or neither")
        if self.host not in {"127.0.0.1", "::1", "localhost"} and not has_password:
            raise ValueError(
                f"listening on {self.host} opens the broker to the network: set broker.username and "
                "VIRE_EDGE_BROKER__PASSWORD, or keep 127.0.0.1"
            )
        return self


class PerformanceConfig(Section):
    """What the daemon may take of the computer. Past a limit it looks at fewer frames of each camera than its fps."""

    max_cpu_percent: Annotated[float, Field(ge=1, le=6400)] = 100.0
    """Of one core, as top and systemd's CPUQuota count: 100 is one of the four of a Raspberry Pi. min_fps is kept even
    where this is not."""
    max_temperature_celsius: Annotated[float, Field(ge=40, le=110)] = 78.0
    """Of the processor. A Raspberry Pi slows everything down from 80 by itself."""
    min_fps: Annotated[float, Field(ge=1, le=60)] = 2.0
    """Never fewer: a face may be missed three times in a row before smoothing.max_gap_seconds breaks off what was
    observed. At or above a camera's fps, nothing slows that camera down."""


class HealthConfig(Section):
    """The device's report on itself."""

    interval_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """Time between two reports."""


class LogConfig(Section):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    format: Literal["auto", "console", "json"] = "auto"
    """auto: coloured lines on a terminal, JSON elsewhere."""


class Config(Section):
    """Everything the daemon can be told."""

    version: Annotated[int, Field(ge=1, le=CONFIG_VERSION)] = CONFIG_VERSION
    """The form of this file; left out, 1. A newer vire-edge reads an older form, an older one refuses a newer."""
    device_id: Name | None = None
    """Stands in each topic; left out, made from the machine id so that two devices never collide."""
    state_dir: Path | None = None
    """Where the daemon keeps what must survive a restart; left out, systemd's StateDirectory or
    ~/.local/state/vire-edge."""
    cameras: list[CameraConfig] = Field(default_factory=lambda: [CameraConfig()], min_length=1, max_length=16)
    """The cameras."""
    model: ModelConfig = ModelConfig()
    faces: FacesConfig = FacesConfig()
    quality: QualityConfig = QualityConfig()
    tracking: TrackingConfig = TrackingConfig()
    smoothing: SmoothingConfig = SmoothingConfig()
    alerts: list[Alert] = Field(default_factory=default_alerts, max_length=256)
    """The alert rules. A file that has any replaces the default ones."""
    mqtt: MqttConfig = MqttConfig()
    broker: BrokerConfig = BrokerConfig()
    performance: PerformanceConfig = PerformanceConfig()
    health: HealthConfig = HealthConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        for key, names in (
            ("cameras", [camera.name for camera in self.cameras]),
            ("alerts", [alert.name for alert in self.alerts]),
        ):
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key}: the name {repeated[0]!r} is used twice; names must differ")
        known = {camera.name for camera in self.cameras}
        for index, alert in enumerate(self.alerts):
            if isinstance(alert, DeviceAlert):
                continue
            if unknown := sorted(set(alert.cameras) - known):
                raise ValueError(
                    f"alerts[{index}].cameras: there is no camera {unknown[0]!r}; there is {', '.join(sorted(known))}"
                )
        return self
