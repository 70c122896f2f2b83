"""Fixtures that several test files share."""

from __future__ import annotations

from brokers import certificates, mosquitto, mosquitto_with_login, start_mosquitto

__all__ = ["certificates", "mosquitto", "mosquitto_with_login", "start_mosquitto"]
