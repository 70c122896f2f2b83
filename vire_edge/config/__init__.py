"""The configuration: one TOML file, environment variables over it; every default and its reason in `settings`."""

from vire_edge.config.base import ENV_PREFIX
from vire_edge.config.example import example_toml
from vire_edge.config.identity import device_id, state_directory
from vire_edge.config.loading import DEFAULT_PATH, chosen_path, load_config
from vire_edge.config.migration import migrate_file
from vire_edge.config.passwords import readable_by_everyone, secret_files, warn_of_readers
from vire_edge.config.rules import AbsenceAlert, Alert, CameraAlert, DeviceAlert, SpikeAlert, SustainedAlert
from vire_edge.config.settings import (
    BrokerConfig,
    CameraConfig,
    Config,
    FacesConfig,
    HealthConfig,
    LogConfig,
    ModelConfig,
    MqttConfig,
    PerformanceConfig,
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
    "ModelConfig",
    "MqttConfig",
    "PerformanceConfig",
    "QualityConfig",
    "SmoothingConfig",
    "SpikeAlert",
    "SustainedAlert",
    "TlsConfig",
    "TrackingConfig",
    "chosen_path",
    "device_id",
    "example_toml",
    "load_config",
    "migrate_file",
    "readable_by_everyone",
    "redact_source",
    "secret_files",
    "state_directory",
    "warn_of_readers",
]
