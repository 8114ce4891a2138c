"""The default rules, which are used if no file is named. A test holds configs/alerts.toml, which has comments, to
them.
"""

from controller.alerts.rule import AlertFile, Inhibition, Rule
from controller.health import CODES, OF_DEVICES

RULES = (
    Rule(
        name="DevicesOffline", measure="offline_ratio", above=0.2, min_devices=3, for_s=120.0, keep_s=60.0,
        severity="critical", summary="Many devices are offline or silent",
    ),
    Rule(name="DeviceUnheard", measure="unheard_s", above=300.0, for_s=60.0),
    Rule(name="DeviceDisk", measure="device_fault", codes=("disk_full", "disk_failed"), for_s=60.0, keep_s=300.0),
    Rule(name="DeviceClock", measure="clock_off_s", above=120.0, for_s=300.0, keep_s=300.0),
    Rule(
        name="DeviceTrust", measure="device_fault", severity="critical",
        codes=("identity_taken", "metadata_expired", "signature_invalid", "desired_equivocation"), keep_s=300.0,
    ),
    Rule(name="GoldenProbeFailed", measure="device_fault", severity="critical", codes=("golden_mismatch",)),
    Rule(name="GoldenProbeOverdue", measure="device_fault", codes=("golden_overdue",), keep_s=300.0),
    Rule(name="CertificateEndsSoon", measure="expiry_days", below=7.0),
    Rule(name="CertificateEnded", measure="expiry_days", below=0.0, severity="critical"),
    Rule(name="SensorDead", measure="sensor_failing", for_s=120.0, keep_s=60.0),
    Rule(name="SensorQuiet", measure="sensor_row_age_s", above=3600.0),
    Rule(name="SinkFailing", measure="sink_failing", for_s=600.0, keep_s=60.0),
    Rule(name="RolloutStopped", measure="rollout_stopped"),
    Rule(name="VersionRolledBack", measure="version_rolled_back"),
    Rule(
        name="VersionFailsOnDevices", measure="rolled_back_ratio", above=0.05, min_devices=3,
        severity="critical",
    ),
    Rule(
        name="ControllerUnwell", measure="controller_finding", severity="critical", for_s=30.0,
        codes=tuple(code for code in CODES if code not in OF_DEVICES),
    ),
    Rule(name="DataContractBroken", measure="contract_breach_ratio", for_s=60.0, keep_s=600.0),
    Rule(name="DeviceUnusual", measure="vitals_departure", severity="info", keep_s=43_200.0),
    Rule(name="QualityDropped", measure="estimated_quality", severity="critical", for_s=60.0, keep_s=600.0),
)  # fmt: skip
INHIBITIONS = (
    Inhibition(source={"alertname": "ControllerUnwell", "code": "broker_lost"}, target={"alertname": "Device*"}),
    Inhibition(source={"alertname": "DevicesOffline"}, target={"alertname": "DeviceUnheard"}),
    Inhibition(source={"alertname": "DeviceUnheard"}, target={"alertname": "Sensor*"}, equal=("device",)),
    Inhibition(
        source={"alertname": "CertificateEnded"}, target={"alertname": "CertificateEndsSoon"}, equal=("device", "what")
    ),
)  # fmt: skip
DEFAULTS = AlertFile(rule=RULES, inhibit=INHIBITIONS)
