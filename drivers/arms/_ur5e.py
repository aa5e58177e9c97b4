"""Kinematics, masses and limits of the UR5e.

DH parameters, masses and centres of mass are from Universal Robots' article "DH Parameters for
calculations of kinematics and dynamics"; joint speed and torque limits are from the UR5e technical
specifications. Link inertias are not published there: `drivers.sim.arm_model` takes those of
uniform cylinders instead.

The base frame is ROS's `base_link` (x points to the front), which is the controller's frame `base`
turned by 180 deg about z, hence BASE_YAW.
"""

from __future__ import annotations

import math

import numpy as np

from headway.drivers.capsules import Capsule
from headway.types import Limits

HALF_PI = math.pi / 2
BASE_YAW = math.pi
# Per joint a [m], d [m], alpha [rad], standard Denavit-Hartenberg convention.
DH = (
    (0.0, 0.1625, HALF_PI),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, HALF_PI),
    (0.0, 0.0997, -HALF_PI),
    (0.0, 0.0996, 0.0),
)
MASS = (3.761, 8.058, 2.846, 1.37, 1.3, 0.365)  # [kg]
# Centre of mass of each link, in the link's own DH frame [m].
COM = (
    (0.0, -0.02561, 0.00193),
    (0.2125, 0.0, 0.11336),
    (0.15, 0.0, 0.0265),
    (0.0, -0.0018, 0.01634),
    (0.0, 0.0018, 0.01634),
    (0.0, 0.0, -0.001159),
)

# The outer shape of the arm as capsules in the DH frames; this project's own approximation.
BODY = (
    Capsule("base", 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.02), 0.075),
    Capsule("shoulder", 1, (0.0, -0.10, 0.0), (0.0, 0.02, 0.0), 0.062),
    Capsule("shoulder", 1, (0.0, 0.0, -0.02), (0.0, 0.0, 0.08), 0.058),
    Capsule("upper arm", 2, (0.425, 0.0, 0.1336), (0.0, 0.0, 0.1336), 0.052),
    Capsule("elbow", 2, (0.0, 0.0, 0.05), (0.0, 0.0, 0.15), 0.055),
    Capsule("forearm", 3, (0.3922, 0.0, 0.0165), (0.0, 0.0, 0.0165), 0.042),
    Capsule("forearm", 3, (0.0, 0.0, 0.0), (0.0, 0.0, 0.05), 0.044),
    Capsule("wrist 1", 4, (0.0, 0.0, -0.04), (0.0, 0.0, 0.02), 0.040),
    Capsule("wrist 1", 4, (0.0, 0.0, 0.0), (0.0, -0.05, 0.0), 0.040),
    Capsule("wrist 2", 5, (0.0, 0.0, -0.04), (0.0, 0.0, 0.02), 0.040),
    Capsule("wrist 2", 5, (0.0, 0.0, 0.0), (0.0, 0.05, 0.0), 0.040),
    Capsule("wrist 3", 6, (0.0, 0.0, -0.035), (0.0, 0.0, -0.012), 0.036),
)

LIMITS = Limits(
    q_min=np.array(
        [-2 * math.pi, -2 * math.pi, -math.pi, -2 * math.pi, -2 * math.pi, -2 * math.pi]
    ),
    q_max=np.array([2 * math.pi, 2 * math.pi, math.pi, 2 * math.pi, 2 * math.pi, 2 * math.pi]),
    dq_max=np.full(6, math.pi),
    # Acceleration and jerk limits are not published: these are this project's choice.
    ddq_max=np.full(6, 20.0),
    dddq_max=np.full(6, 1000.0),
    tau_max=np.array([150.0, 150.0, 150.0, 28.0, 28.0, 28.0]),
)
