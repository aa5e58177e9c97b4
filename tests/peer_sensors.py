"""What others' clients of force/torque sensors find, for tests/test_peer_sensors.py.

python peer_sensors.py netft|pynetft|bota ADDRESS GIVEN
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

WAIT_S = 30.0


def netft(uri: str) -> dict:
    """One measurement, ten of a stream, and a stop; in counts."""

    import NetFT

    to = urlsplit(uri)
    sensor = NetFT.Sensor(to.hostname)
    sensor.sock.connect((to.hostname, to.port))  # the library knows only the usual port
    sensor.sock.settimeout(WAIT_S)
    found = {"one": sensor.getMeasurement()}
    sensor.startStreaming(handler=False)
    found["stream"] = [list(sensor.receive()) for _ in range(10)]
    sensor.stopStreaming()
    sensor.sock.settimeout(1.0)
    try:
        while True:
            sensor.receive()
    except TimeoutError:
        found["stopped"] = True
    found["tare"] = len(sensor.tare())
    return found


def pynetft(uri: str) -> dict:
    """Discovery over HTTP, a second of the stream, and what the client has counted."""
    from pynetft import Client, Config

    to = urlsplit(uri)
    config = Config(
        sensor_host=to.hostname, rdt_port=to.port, http_port=int(parse_qs(to.query)["http"][0]),
        receive_timeout=WAIT_S, configuration_timeout=WAIT_S, configuration_connect_timeout=WAIT_S,
    )  # fmt: skip
    with Client(config, queue_size=2000) as client:
        samples = []
        for sample in client.samples():
            samples.append(sample)
            if len(samples) == 500:
                break
        health = client.health()
    return {
        "product": health.sensor_configuration.product_name,
        "counts": health.sensor_configuration.calibration.counts_per_force_unit,
        "units": [samples[0].force_unit.name, samples[0].torque_unit.name],
        "first": [*samples[0].force, *samples[0].torque],
        "status": sorted({sample.status for sample in samples}),
        "steps": sorted({b.rdt_sequence - a.rdt_sequence for a, b in pairwise(samples)}),
        "lost": health.lost_count,
        "duplicate": health.duplicate_count,
        "out of order": health.out_of_order_count,
        "malformed": health.malformed_count,
    }


def bota(port: str) -> dict:
    """The vendor's driver configures the sensor and reads frames."""
    import bota_driver as b

    config = b.BotaDriverConfig()
    config.communication_interface_name = "Bota_Binary_gen0"
    config.product_name, config.serial_number = "BFT-SENS-SER-M8", "SENONE1234"
    line = b.BotaBinaryCommunicationInterfaceConfig()
    line.com_port = port
    config.binary_communication_interface_params = line
    operation = b.Gen0SensorOperationConfig()
    operation.sinc_length = 256
    config.gen0_sensor_operation_params = operation
    doing = b.DriverOperationConfig()
    doing.skip_metadata_reading, doing.runtime_verbosity = True, False
    config.driver_operation_params = doing
    driver = b.BotaDriver(config)
    found = {"configured": driver.configure(), "activated": driver.activate()}
    frames = [driver.read_frame_blocking() for _ in range(30)]
    found["step"] = driver.get_expected_timestep_us()
    found["status"] = sorted({frame.status.val for frame in frames})
    found["force"], found["torque"] = list(frames[-1].force), list(frames[-1].torque)
    found["temperature"] = frames[-1].temperature
    found["times"] = [frame.timestamp for frame in frames]
    found["ended"] = [driver.deactivate(), driver.cleanup(), driver.shutdown()]
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
