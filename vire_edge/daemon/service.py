"""`vire-edge run` behind the command line: builds the parts, obeys signals, and ends with an honest status."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from vire_edge.alerts import AlertEngine
from vire_edge.camera import Camera
from vire_edge.clock import read_clocks
from vire_edge.config import Config, device_id, state_directory
from vire_edge.daemon.analysis import Analysis
from vire_edge.daemon.daemon import Daemon
from vire_edge.daemon.delivery import Delivery
from vire_edge.daemon.memory import return_what_starting_took, share_one_heap
from vire_edge.daemon.supervision import Part
from vire_edge.daemon.systemd import ServiceManager
from vire_edge.domain import Instant
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.messages import Messages, Topics
from vire_edge.mqtt import MqttConnection, MqttEvent, MqttVersion
from vire_edge.outbox import Outbox, Readdress
from vire_edge.pipeline import Pipeline
from vire_edge.searching import build_search

OpenOutbox = Callable[[Path | None, int, Instant, Readdress], Outbox]
"""A state folder, how many alerts are kept, the present moment, an alert's address of today → the outbox."""


def run_service(config: Config, *, on_started: Callable[[Daemon], None] | None = None) -> None:
    """Watch until SIGTERM or SIGINT, or until every recording is read to its end.

    Args:
        config: the configuration.
        on_started: called once everything is up.

    Raises:
        VireError: a part cannot be built or started, or stands still; nothing is left running.
    """
    share_one_heap()
    wake = threading.Event()
    with ExitStack() as running:
        daemon = build_daemon(config, wake, running)
        _obey_signals(daemon, running)
        running.push(daemon)
        daemon.start()
        return_what_starting_took()
        if on_started is not None:
            on_started(daemon)
        daemon.run()


def build_daemon(
    config: Config, wake: threading.Event, running: ExitStack, *, open_outbox: OpenOutbox = Outbox.open
) -> Daemon:
    """Build all parts from the configuration; what must be closed again is handed to `running`."""
    classifier = _load_model(config)
    engine = AlertEngine([alert.to_rule() for alert in config.alerts], [camera.name for camera in config.cameras])

    def build_pipeline(classifier: OnnxEmotionClassifier) -> Pipeline:
        return Pipeline(config, new_search=lambda: build_search(config.faces), classifier=classifier, engine=engine)

    def build_anew() -> Pipeline:
        pipeline, now = build_pipeline(_load_model(config)), read_clocks()
        # The faces of a new pipeline are new to the rules, as after a restart.
        engine.restore(engine.snapshot(now), elapsed_seconds=0.0, now=now)
        return pipeline

    messages = Messages(Topics(config.mqtt.topic_prefix, device_id(config)))
    outbox = open_outbox(state_directory(config), config.mqtt.max_queued_alerts, read_clocks(), messages.readdress)
    running.callback(outbox.close)
    parts = []
    mqtt = config.mqtt
    if mqtt.host is None:
        from vire_edge.mqtt.embedded import EmbeddedBroker  # noqa: PLC0415 - 3 MB that few others need

        broker = EmbeddedBroker(config.broker)
        broker.start()
        running.callback(broker.stop, timeout_seconds=1.5)
        parts.append(Part("the embedded broker", broker.complaint, broker.start))
        mqtt = broker.client_config(mqtt)

    def connect(events: SimpleQueue[MqttEvent] | None) -> MqttConnection:
        return MqttConnection(
            mqtt,
            client_id=f"vire-edge-{messages.topics.device_id}",
            command_filter=messages.topics.commands,
            will=lambda: messages.availability("offline", at=read_clocks().utc),
            wake=wake,
            first_version=MqttVersion.V5 if config.mqtt.host else MqttVersion.V311,
            alerts=outbox,
            events=events,
        )

    delivery = Delivery(connect)
    parts.append(Part("the connection to the broker", delivery.complaint, delivery.restart))
    return Daemon(
        config,
        cameras=[Camera(camera, wake=wake) for camera in config.cameras],
        analysis=Analysis(build_pipeline(classifier), build_anew),
        engine=engine,
        outbox=outbox,
        publisher=delivery,
        messages=messages,
        model=f"{classifier.architecture} ({classifier.path.name})",
        wake=wake,
        manager=ServiceManager(),
        parts=parts,
    )


def _load_model(config: Config) -> OnnxEmotionClassifier:
    return OnnxEmotionClassifier(config.model.path, precision=config.model.precision, threads=config.model.threads)


def _obey_signals(daemon: Daemon, running: ExitStack) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        daemon.request_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        running.callback(signal.signal, number, signal.signal(number, stop))
