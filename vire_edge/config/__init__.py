"""The configuration: one TOML file, environment variables over it; every default and its reason in `settings`."""

from vire_edge.config.example import example_toml
from vire_edge.config.identity import device_id, state_directory
from vire_edge.config.loading import DEFAULT_PATH, ENV_PREFIX, load_config
from vire_edge.config.rules import AbsenceAlert, Alert, CameraAlert, DeviceAlert, SpikeAlert, SustainedAlert
from vire_edge.config.settings import (
    BrokerConfig,
    CameraConfig,
    Config,
    FacesConfig,
    HealthConfig,
    LogConfig,
    MqttConfig,
    QualityConfig,
    SmoothingConfig,
    TlsConfig,
    TrackingConfig,
    redact_source,
)

__all__ = [
    "DEFAULT_PATH",
    "ENV_PREFIX",
    "AbsenceAlert",
    "Alert",
    "BrokerConfig",
    "CameraAlert",
    "CameraConfig",
    "Config",
    "DeviceAlert",
    "FacesConfig",
    "HealthConfig",
    "LogConfig",
    "MqttConfig",
    "QualityConfig",
    "SmoothingConfig",
    "SpikeAlert",
    "SustainedAlert",
    "TlsConfig",
    "TrackingConfig",
    "device_id",
    "example_toml",
    "load_config",
    "redact_source",
    "state_directory",
]
